//! The web sites whose pages may play streams, told by what browsers say of where a request came from (RFC 9110 section
//! 10.1.3). Other clients say what they like, so this keeps pages from showing streams as their own, and no more. Pure.

use super::asked::Asked;
use super::error::Error;

/// The list.
#[derive(Clone, Debug)]
pub(super) struct Referrers {
    /// Lower case: `example.org`, or `*.example.org` for all below it.
    hosts: Vec<String>,
    /// Whether who says nothing is welcome.
    silent: bool,
}

impl Referrers {
    /// Of these hosts; none lets in everybody.
    pub(super) fn new(hosts: &[String], silent: bool) -> Referrers {
        Referrers { hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(), silent }
    }

    /// Whether requests are to be asked at all.
    pub(super) fn are_all(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Lets a request in that came from a listed site or from a page of our own.
    pub(super) fn admit(&self, asked: &Asked) -> Result<(), Error> {
        if self.are_all() {
            return Ok(());
        }
        let origin = asked.origin.as_ref().and_then(|origin| origin.to_str().ok());
        self.judge(asked.referrer.as_deref().or(origin), asked.host.as_deref())
    }

    /// `said`: the page's address or origin; `own`: the authority that the client asked.
    pub(super) fn judge(&self, said: Option<&str>, own: Option<&str>) -> Result<(), Error> {
        // A page that hides where it is says `null`.
        let Some(said) = said.filter(|said| !said.is_empty() && *said != "null") else {
            let why = "this server wants to know the page that plays: send a Referer header";
            return if self.silent || self.are_all() { Ok(()) } else { Err(Error::Forbidden(why.into())) };
        };
        let site = host(said);
        let ours = own.is_some_and(|own| host_of_authority(own).eq_ignore_ascii_case(site));
        if self.are_all() || ours || self.hosts.iter().any(|listed| fits(listed, &site.to_ascii_lowercase())) {
            return Ok(());
        }
        Err(Error::Forbidden("streams of this server may not be played on this site".into()))
    }
}

fn fits(listed: &str, site: &str) -> bool {
    match listed.strip_prefix("*.") {
        Some(parent) => site.strip_suffix(parent).is_some_and(|below| below.ends_with('.') && below.len() > 1),
        None => listed == site,
    }
}

/// The host of an address.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    host_of_authority(authority.rsplit('@').next().unwrap_or_default())
}

/// Without its port.
fn host_of_authority(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_sites_and_our_own_are_welcome() {
        let listed = Referrers::new(&["Example.org".to_owned(), "*.example.net".to_owned()], true);
        let judge = |said| listed.judge(said, Some("live.host:8080")).is_ok();
        for said in [
            None,
            Some(""),
            Some("null"),
            Some("https://example.org/page?x"),
            Some("https://EXAMPLE.org"),
            Some("http://example.org:8080/"),
            Some("https://a.example.net/"),
            Some("https://a.b.example.net/"),
            Some("http://live.host:8080/watch/show"),
        ] {
            assert!(judge(said), "{said:?}");
        }
        for said in [
            "https://example.org.evil.test/",
            "https://evil.test/example.org",
            "https://example.org@evil.test/",
            "https://evil.test?example.org",
            "https://notexample.net/",
            "https://example.net/",
            "https://.example.net/",
            "http://[::1]/",
        ] {
            assert!(!judge(Some(said)), "{said}");
        }
        assert!(Referrers::new(&[], false).judge(Some("https://evil.test/"), None).is_ok());
    }

    #[test]
    fn who_says_nothing_is_welcome_where_that_is_allowed() {
        let strict = Referrers::new(&["example.org".to_owned()], false);
        assert!(strict.judge(None, None).is_err());
        assert!(strict.judge(Some("https://example.org/"), None).is_ok());
        assert!(Referrers::new(&[], false).judge(None, None).is_ok());
    }
}
