//! Reads configuration files.

use std::fs;
use std::io::ErrorKind;

use shared::name::GuestName;

use super::GuestConfig;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Reads a guest's configuration.
///
/// # Errors
/// No such guest, or what is wrong with its file.
pub fn load(paths: &Paths, name: &GuestName) -> Result<GuestConfig> {
    let path = paths.config(name);
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::no_such_guest(name),
        _ => Error::path("read", &path, error),
    })?;
    toml::from_str(&text).map_err(|error| Error::new(format!("'{}': {error}", path.display())))
}

/// The names of all guests that have a configuration, in order.
///
/// # Errors
/// When the directory can't be read; a missing one holds no guests.
pub fn names(paths: &Paths) -> Result<Vec<GuestName>> {
    let directory = paths.config_dir();
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::path("read", &directory, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::path("read", &directory, error))?;
        names.extend(entry.file_name().to_str().and_then(guest_of_file));
    }
    names.sort();
    Ok(names)
}

/// The guest whose configuration a file of this name is; editors' backups and
/// whatever else lies there are none.
fn guest_of_file(file: &str) -> Option<GuestName> {
    let name = file.strip_suffix(".toml")?;
    if name == "defaults" {
        return None;
    }
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_and_defaults_are_no_guests() {
        for file in ["defaults.toml", ".web.toml", "web.toml~", "#web.toml#", "web.toml.bak", "x"] {
            assert_eq!(guest_of_file(file), None, "{file}");
        }
        assert_eq!(guest_of_file("web.toml"), "web".parse().ok());
    }
}
