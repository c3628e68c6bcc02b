//! The instance in Incus's and LXD's own files: `backup.yaml`, which lies beside
//! the files of a guest, and `index.yaml` of a backup. Pure.
//!
//! Fields are those of `config.Config` and `backup/config.Config` in Incus's
//! sources (`internal/server/backup/config/backup_config.go`).

use serde_json::Value;

/// What an instance is called in them: by LXD and older versions of Incus, and
/// by newer ones.
const NAMES: [&str; 2] = ["container", "instance"];

/// What such files begin their lines with.
pub(super) const LINES: [&str; 2] = ["container:", "instance:"];

/// The instance, as the server's answers have it.
///
/// # Errors
/// When it is none, in words.
pub(super) fn instance(text: &str) -> Result<Value, String> {
    let file: Value = serde_saphyr::from_str(text).map_err(|cause| {
        // The rest shows the place in the text.
        let cause = cause.to_string();
        format!("it is no YAML: {}", cause.lines().next().unwrap_or_default())
    })?;
    let of = |file: &Value| NAMES.iter().find_map(|name| file.get(name)).cloned();
    if let Some(instance) = of(&file).or_else(|| file.get("config").and_then(of)) {
        return Ok(instance);
    }
    Err(match file.get("properties") {
        Some(_) => "it is an image's, which has no settings: give 'backup.yaml', or the output of \
                    'incus query /1.0/instances/NAME'"
            .to_owned(),
        None => "no instance is in it".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_instance_is_found_wherever_it_stands() {
        let name_in = |text: &str| instance(text).map(|found| found["name"].clone());
        let name = Ok(Value::from("web"));
        assert_eq!(name_in("container:\n  name: web\n  devices: {}\n"), name);
        assert_eq!(name_in("instance:\n  name: web\npool: null\n"), name);
        let index = "name: web\nbackend: dir\nconfig:\n  container:\n    name: web\n";
        assert_eq!(name_in(index), name);
        let image = "architecture: x86_64\nproperties:\n  os: Debian\ntemplates: {}\n";
        assert!(instance(image).unwrap_err().contains("image's"));
        assert!(instance("a: b\n").unwrap_err().contains("no instance"));
        assert!(instance("a: [\n").unwrap_err().contains("no YAML"));
    }

    #[test]
    fn what_is_made_to_take_all_memory_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{before}]\n");
        }
        assert!(instance(&text).is_err());
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text in "\\PC{0,80}") {
            let _ = instance(&text);
        }
    }
}
