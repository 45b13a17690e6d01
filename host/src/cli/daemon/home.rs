//! The data directory on the disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cli::failure::Failure;

/// Makes the data directory, with mode 0700, if there is none. Refuses one that others can write to.
pub(in crate::cli) fn prepare(home: &Path) -> Result<(), Failure> {
    let fail = |what: &str| Failure::new("data-directory", format!("The data directory {} {what}.", home.display()));
    crate::store::make_dir(home).map_err(|error| fail(&format!("cannot be made: {error}")))?;
    let metadata = std::fs::metadata(home).map_err(|error| fail(&format!("cannot be read: {error}")))?;
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err(fail(&format!("can be written by others. Mend it with: chmod 700 '{}'", home.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_directory_is_made_for_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("a/b");
        prepare(&home).unwrap();
        assert_eq!(home.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        prepare(&home).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused_with_the_command_that_mends_it() {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let failure = prepare(home.path()).unwrap_err();
        assert!(failure.to_string().contains("chmod 700"), "{failure}");
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("file");
        std::fs::write(&home, "").unwrap();
        assert!(prepare(&home).is_err());
    }
}
