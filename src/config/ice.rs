//! STUN and TURN servers as people write them: `stun:HOST:PORT`, `turn:USER:PASSWORD@HOST:PORT`.

/// One server, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// RFC 7064 and RFC 7065: `stun:HOST:PORT`, `turn:HOST:PORT?transport=udp`.
    pub url: String,
    /// Of TURN; else empty.
    pub username: String,
    /// Of TURN; else empty.
    pub credential: String,
}

/// Reads one, or says what is wrong with it. The text may have a password in it, so it is not repeated.
pub fn server(text: &str) -> Result<IceServer, String> {
    let (scheme, rest) = text.split_once(':').ok_or("an ICE server begins with stun: or turn:")?;
    let (username, credential, host) = match (scheme, rest.rsplit_once('@')) {
        ("stun" | "stuns", None) => ("", "", rest),
        ("turn" | "turns", Some((account, host))) => {
            let (username, credential) =
                account.split_once(':').ok_or("a TURN server needs turn:USER:PASSWORD@HOST:PORT")?;
            (username, credential, host)
        }
        ("stun" | "stuns", Some(_)) => return Err("a STUN server has no user and password".to_owned()),
        ("turn" | "turns", None) => return Err("a TURN server needs turn:USER:PASSWORD@HOST:PORT".to_owned()),
        _ => return Err("an ICE server begins with stun:, stuns:, turn: or turns:".to_owned()),
    };
    let odd = |c: char| c.is_control() || matches!(c, '"' | '<' | '>' | '\\' | ' ');
    if host.is_empty() || text.contains(odd) {
        return Err("an ICE server has a host, and no spaces, quotes or brackets".to_owned());
    }
    Ok(IceServer { url: format!("{scheme}:{host}"), username: username.to_owned(), credential: credential.to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn servers_are_taken_apart() {
        assert_eq!(server("stun:stun.example.org:3478").unwrap().url, "stun:stun.example.org:3478");
        let turn = server("turn:ann:s3cr:et@turn.example.org:3478?transport=tcp").unwrap();
        assert_eq!((turn.username.as_str(), turn.credential.as_str()), ("ann", "s3cr:et"));
        assert_eq!(turn.url, "turn:turn.example.org:3478?transport=tcp");
        for bad in ["example.org", "http://x", "turn:host:1", "stun:a:b@host", "turn:user@host", "stun:", "stun:a\"b"] {
            assert!(server(bad).is_err(), "{bad}");
        }
    }
}
