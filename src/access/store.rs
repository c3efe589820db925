//! The file of the keys that were made: `keys.json` in the data directory. Read once at start, written as a whole with every
//! change. Holds digests and never a secret.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, KeyGrant, StreamPattern};
use crate::files;

/// Name of the file.
pub(super) const FILE: &str = "keys.json";

/// One key in the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) stream: Option<StreamPattern>,
    pub(super) grant: KeyGrant,
    /// Of the secret, in hexadecimal digits.
    pub(super) sha256: String,
    /// Seconds since 1970.
    pub(super) made: u64,
    /// The same, of its last use.
    pub(super) used: Option<u64>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    keys: Vec<Row>,
}

/// Reads the file; none is no keys.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(|source| Error::File { path: path.to_owned(), source })?,
    };
    let mut text = String::new();
    let damaged = |problem: String| Error::Damaged { path: path.to_owned(), problem };
    let read = file.take(LARGEST + 1).read_to_string(&mut text);
    read.map_err(|error| damaged(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(damaged("it is larger than any that is written here".to_owned()));
    }
    let document: Document = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    match document.version {
        VERSION => Ok(document.keys),
        other => Err(damaged(format!("its version is {other}, and this program knows {VERSION}"))),
    }
}

/// Writes the file: whoever reads it, also after a loss of power, finds the old keys or the new ones.
pub(super) fn write(path: &Path, keys: Vec<Row>) -> io::Result<()> {
    let text = serde_json::to_string_pretty(&Document { version: VERSION, keys })?;
    files::replace(path, text.as_bytes())
}

const VERSION: u32 = 1;
/// Bytes of the file: as many keys as may be, with long labels, and as much again.
const LARGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn row(id: &str) -> Row {
        Row {
            id: id.to_owned(),
            label: "camera 1".to_owned(),
            stream: Some("show-*".parse().unwrap()),
            grant: KeyGrant::Play,
            sha256: "0".repeat(64),
            made: 1,
            used: None,
        }
    }

    #[test]
    fn what_was_written_is_read_and_nobody_else_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(read(&path).unwrap().is_empty());
        for count in [3, 1] {
            write(&path, (0..count).map(|n| row(&n.to_string())).collect()).unwrap();
            let rows = read(&path).unwrap();
            assert_eq!(rows.len(), count);
            assert_eq!((rows[0].label.as_str(), rows[0].grant), ("camera 1", KeyGrant::Play));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_a_crash_left_behind_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        write(&path, vec![row("a")]).unwrap();
        fs::write(path.with_file_name("keys.json.new"), "{\"vers").unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        write(&path, vec![row("a"), row("b")]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2);
    }

    #[test]
    fn a_damaged_file_is_said_to_be_one_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        write(&path, vec![row("a")]).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for text in ["", "{", &whole[..whole.len() / 2], "[]", &whole.replace("\"version\": 1", "\"version\": 9")] {
            fs::write(&path, text).unwrap();
            let said = read(&path).unwrap_err().to_string();
            assert!(said.contains("keys.json") && said.contains("backup"), "{said}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(read(&path), Err(Error::Damaged { .. })));
    }
}
