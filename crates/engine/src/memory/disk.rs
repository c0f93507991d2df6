//! Free disk space, asked for before something large is written.

use std::path::Path;

use super::bytes_as;
use crate::Error;

/// Bytes that this user may still write in a folder, or in the nearest one above it that exists.
///
/// # Errors
/// [`Error::NoRoom`] when the system doesn't say.
pub fn disk_free(folder: &Path) -> Result<u64, Error> {
    let folder = if folder.is_absolute() { folder.to_owned() } else { Path::new(".").join(folder) };
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(existing).map_err(|error| {
        Error::NoRoom(format!("the free space of {} can't be read: {error}", existing.display()))
    })?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Refuses when a folder has no room for a file of about `bytes`.
///
/// # Errors
/// [`Error::NoRoom`] with both figures.
pub fn require_disk(folder: &Path, bytes: u64, what: &str) -> Result<(), Error> {
    let free = disk_free(folder)?;
    if bytes <= free {
        return Ok(());
    }
    Err(Error::NoRoom(format!(
        "{what} needs about {} in {}, where {} are free: delete what isn't needed there, or name another folder",
        bytes_as(bytes),
        if folder.as_os_str().is_empty() { Path::new(".") } else { folder }.display(),
        bytes_as(free)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_yet_to_be_made_has_the_room_of_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        let free = disk_free(&dir.path().join("to/be/made")).unwrap();
        assert!(free > 0);
        assert!(disk_free(Path::new("")).unwrap() > 0);
    }

    #[test]
    fn too_little_room_is_said_with_both_figures() {
        let dir = tempfile::tempdir().unwrap();
        require_disk(dir.path(), 1, "the model").unwrap();
        let error = require_disk(dir.path(), 1 << 60, "the model").unwrap_err().to_string();
        assert!(
            error.contains("the model needs about 1048576.0 TiB") && error.contains("are free"),
            "{error}"
        );
    }
}
