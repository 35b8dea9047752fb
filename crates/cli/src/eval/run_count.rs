//! Counts how often this machine has measured by the sealed lines.
//!
//! Each look at a sealed set makes it a little less independent of the choices that follow, so the
//! count is part of every report. It is a JSON object in the user's state folder: the SHA-256 of the
//! key files, and the number of runs with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Counts one more run with these keys, and returns the number of runs so far, this one included.
///
/// # Errors
/// Returns [`io::Error`] if the file of counts cannot be read or written, or if the environment
/// names no folder for it. A file that is not JSON is an error and stays as it is.
pub(super) fn count_run(keys_sha256: &str) -> io::Result<u64> {
    let folder = state_folder(|name| env::var_os(name).map(PathBuf::from));
    let folder = folder.ok_or(io::ErrorKind::NotFound)?;
    count_run_in(&folder, keys_sha256)
}

fn count_run_in(folder: &Path, keys_sha256: &str) -> io::Result<u64> {
    let path = folder.join("real-runs.json");
    let mut counts: BTreeMap<String, u64> = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let count = counts.entry(keys_sha256.to_owned()).or_default();
    *count += 1;
    let runs = *count;
    fs::create_dir_all(folder)?;
    // A run that is interrupted here leaves the former file.
    let fresh = path.with_extension("new");
    fs::write(&fresh, serde_json::to_vec(&counts)?)?;
    fs::rename(&fresh, &path)?;
    Ok(runs)
}

/// Returns the folder of the counts: `$XDG_STATE_HOME`, `%LOCALAPPDATA%` on Windows, or
/// `~/.local/state` (<https://specifications.freedesktop.org/basedir-spec/latest/>).
fn state_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let base = ["XDG_STATE_HOME", "LOCALAPPDATA"]
        .into_iter()
        .filter_map(&variable)
        // The specification says to ignore a relative path.
        .find(|path| path.is_absolute())
        .or_else(|| Some(variable("HOME")?.join(".local/state")).filter(|path| path.is_absolute()));
    Some(base?.join("jeffrey-edge"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_for_each_set_of_keys() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a/b");
        let counts = ["x", "x", "y", "x"].map(|keys| count_run_in(&folder, keys).unwrap());
        assert_eq!(counts, [1, 2, 1, 3]);
    }

    #[test]
    fn a_file_that_is_not_json_is_an_error_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("real-runs.json");
        fs::write(&path, "{").unwrap();
        assert!(count_run_in(folder.path(), "x").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"{");
    }

    #[test]
    fn the_folder_is_the_first_absolute_one_that_the_environment_names() {
        let folder = |variables: &[(&str, &str)]| {
            state_folder(|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| PathBuf::from(value))
            })
        };
        let home = ("HOME", "/home/a");
        let rows = [
            (vec![home], Some("/home/a/.local/state/jeffrey-edge")),
            (vec![("XDG_STATE_HOME", "/state"), home], Some("/state/jeffrey-edge")),
            (vec![("XDG_STATE_HOME", "state"), home], Some("/home/a/.local/state/jeffrey-edge")),
            (vec![("XDG_STATE_HOME", ""), home], Some("/home/a/.local/state/jeffrey-edge")),
            (vec![("HOME", "")], None),
            (vec![], None),
        ];
        for (variables, expected) in rows {
            assert_eq!(folder(&variables), expected.map(PathBuf::from), "{variables:?}");
        }
    }
}
