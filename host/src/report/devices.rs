//! `vserver device list`.

use serde::Serialize;

use super::{status, table};
use crate::config::DeviceRule;
use crate::plan::devices::Given;

/// A device of a guest's, and where it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its path on the host and in the guest.
    path: String,
    /// What the running guest may do with it; `None` if it has it not.
    now: Option<String>,
    /// What its file says; `None` if that says nothing.
    configured: Option<String>,
    /// `c` or `b`, and its numbers, as the running guest has them.
    numbers: Option<String>,
}

/// A list of what a running guest has, and of what is in its file.
pub fn rows(now: &[Given], configured: &[DeviceRule]) -> Vec<Row> {
    let rights = |device: &DeviceRule| {
        let text = device.to_string();
        text.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    let path = |name: &str| format!("/dev/{name}");
    let mut rows: Vec<Row> = now
        .iter()
        .map(|given| Row {
            path: path(&given.device.name),
            now: Some(rights(&given.device)),
            configured: None,
            numbers: Some(format!(
                "{} {}:{}",
                if given.is_block { 'b' } else { 'c' },
                given.major,
                given.minor
            )),
        })
        .collect();
    for device in configured {
        let path = path(&device.name);
        match rows.iter_mut().find(|row| row.path == path) {
            Some(row) => row.configured = Some(rights(device)),
            None => {
                let configured = Some(rights(device));
                rows.push(Row { path, now: None, configured, numbers: None });
            }
        }
    }
    rows.sort_by(|one, other| one.path.cmp(&other.path));
    rows
}

/// The table; empty when there is nothing.
pub fn text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let cells = rows
        .iter()
        .map(|row| [row.path.clone(), dash(&row.numbers), dash(&row.now), dash(&row.configured)]);
    table(["DEVICE", "NUMBERS", "NOW", "CONFIGURED"], cells)
}

/// An array of path, now, configured and numbers.
pub fn json(rows: &[Row]) -> String {
    status::json(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_is_shown_once_with_where_it_is_known() {
        let device = |text: &str| text.parse::<DeviceRule>().unwrap();
        let given = |text: &str| Given {
            device: device(text),
            is_block: false,
            major: 10,
            minor: 229,
            mode: 0o666,
            is_for_this_boot: false,
        };
        let now = [given("/dev/net/tun rw"), given("/dev/fuse r")];
        let rows = rows(&now, &[device("/dev/fuse rwm"), device("/dev/kvm")]);
        assert_eq!(
            text(&rows),
            "DEVICE        NUMBERS   NOW  CONFIGURED\n\
             /dev/fuse     c 10:229  r    rwm\n\
             /dev/kvm      -         -    rw\n\
             /dev/net/tun  c 10:229  rw   -\n"
        );
        assert_eq!(text(&[]), "");
    }
}
