//! What an image's configuration means for a guest's. Pure.

use oci_spec::image::Config;
use shared::family::OVERLAY;

use crate::build::Settings;

/// The guest's settings, and what was not taken over. `is_init` tells of a program
/// whether it is what the guest boots anyway, if it has such a one.
pub(super) fn settings(
    config: &Config,
    has_init: bool,
    is_init: impl Fn(&str) -> bool,
) -> (Settings, Vec<String>) {
    let mut settings = Settings::default();
    let mut remarks = Vec::new();
    for variable in config.env().iter().flatten() {
        match variable.split_once('=') {
            Some((name, value)) if is_variable(name, value) => {
                settings.environment.insert(name.to_owned(), value.to_owned());
            }
            _ => remarks.push(format!("its variable '{}' is left out", variable.escape_debug())),
        }
    }
    let words = config.entrypoint().iter().flatten().chain(config.cmd().iter().flatten());
    let command: Vec<String> = words.cloned().collect();
    let shown = || command.join(" ").escape_debug().to_string();
    let program = command.first().map(String::as_str).unwrap_or_default();
    match () {
        () if program.is_empty() || is_init(program) => {}
        () if has_init && program != OVERLAY => remarks.push(format!(
            "its own init is booted, and not its command '{}': 'boot.command' can be set to that",
            shown()
        )),
        () if command.iter().any(|word| word.contains('\0')) => {
            remarks.push(format!("its command '{}' is left out", shown()));
        }
        () => {
            let why =
                if has_init { "made to be booted by it" } else { "it has no init of its own" };
            remarks.push(format!(
                "{why}: its command '{}' is the whole guest ('boot.command')",
                shown()
            ));
            settings.command.clone_from(&command);
        }
    }
    let mut left_out = |what: &str, value: Option<&String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            remarks.push(format!("its {what} '{}' is not taken over", value.escape_debug()));
        }
    };
    let is_root = |user: &&String| !matches!(user.as_str(), "root" | "0" | "0:0" | "root:root");
    left_out("user", config.user().as_ref().filter(is_root));
    left_out("working directory", config.working_dir().as_ref().filter(|dir| *dir != "/"));
    left_out("stop signal", config.stop_signal().as_ref());
    for (what, list) in [("volumes", config.volumes()), ("ports", config.exposed_ports())] {
        let mut list = list.clone().unwrap_or_default();
        list.sort_unstable();
        left_out(what, Some(&list.join(", ")));
    }
    (settings, remarks)
}

/// What environ(7) and the configuration can hold.
fn is_variable(name: &str, value: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.chars().all(is_word)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !value.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_taken_over_and_the_rest_is_named() {
        let config: Config = serde_json::from_str(
            "{\"Env\":[\"PATH=/bin\",\"BAD NAME=1\",\"X=a\\nb\"],\"Cmd\":[\"nginx\",\"-g\"],\
             \"User\":\"www\",\"WorkingDir\":\"/\",\"ExposedPorts\":{\"80/tcp\":{}}}",
        )
        .unwrap();
        let (settings, remarks) = settings(&config, false, |_| false);
        assert_eq!(
            settings.environment.into_iter().collect::<Vec<_>>(),
            [("PATH".into(), "/bin".into())]
        );
        let text = remarks.join("\n");
        for said in ["BAD NAME", "'nginx -g'", "user 'www'", "'80/tcp'"] {
            assert!(text.contains(said), "{said} is missing:\n{text}");
        }
        assert!(!text.contains("directory"));
        assert_eq!(settings.command, ["nginx", "-g"]);
    }

    #[test]
    fn a_command_is_the_guest_only_without_an_init() {
        let of = |program: &str, has_init| {
            let text = format!("{{\"Entrypoint\":[\"{program}\"],\"Cmd\":[\"a b\"]}}");
            let config = serde_json::from_str(&text).unwrap();
            let is_init = |program: &str| has_init && program == "/lib/systemd/systemd";
            let (settings, remarks) = settings(&config, has_init, is_init);
            (settings.command.len(), remarks.len())
        };
        assert_eq!(of("/bin/server", false), (2, 1));
        assert_eq!(of("/bin/server", true), (0, 1));
        assert_eq!(of("/lib/systemd/systemd", true), (0, 0));
        assert_eq!(of("/sbin/other", true), (0, 1));
        // s6-overlay's, whatever init the image below it has.
        assert_eq!(of("/init", true), (2, 1));
        assert_eq!(of("/init", false), (2, 1));
        assert_eq!(of("", false), (0, 0));
    }
}
