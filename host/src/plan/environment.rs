//! What the guest's PID 1 is told of where it runs: the environment, as systemd's
//! container interface (systemd.io/CONTAINER_INTERFACE) and others read it.

use uuid::Uuid;

use crate::variables;

use super::network::Identity;

/// Where in a guest its own init says that the boot is done (sd_notify(3)).
pub const NOTIFY_SOCKET: &str = "/run/host/notify";

/// The namespace of guests' ids (RFC 9562, section 6.5): an arbitrary one.
const GUESTS: Uuid = Uuid::from_u128(0x5b0e_5a31_7c1f_4c0e_9d7a_76f3_e11d_2b94);

/// Names and values, with the guest's [`uuid()`].
pub(super) fn variables(uuid: Option<&str>) -> Vec<(String, String)> {
    let fixed = [
        ("container", "vserver"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("TERM", "linux"),
        // guest-init passes it on to an own init that knows what it is.
        ("NOTIFY_SOCKET", NOTIFY_SOCKET),
        // For guest-init alone, which doesn't pass it on.
        variables::ALLOCATOR,
    ];
    let own = uuid.map(|uuid| ("container_uuid", uuid));
    let all = fixed.into_iter().chain(own);
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The id of a guest as a machine, of which systemd makes its machine-id(5) when
/// it has none: the same at every boot and by another name, no other guest's
/// here or elsewhere, and it doesn't tell the host's. `None` where the host
/// has nothing to tell it from others.
pub(super) fn uuid(guest: Identity<'_>) -> Option<String> {
    let Identity { context, instance, machine, .. } = guest;
    let text = format!("{machine}/{instance}/{context}");
    (!machine.is_empty()).then(|| Uuid::new_v5(&GUESTS, text.as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_uuid_is_its_own() {
        let of = |name: &str, context: u32, machine| {
            let (name, context) = (name.parse().unwrap(), context.try_into().unwrap());
            uuid(Identity { name: &name, context, instance: "", machine })
        };
        let web = of("web", 40_000, "0123");
        assert!(web.is_some());
        assert_eq!(of("renamed", 40_000, "0123"), web);
        assert_ne!(of("web", 40_001, "0123"), web);
        assert_ne!(of("web", 40_000, "4567"), web);
        assert_eq!(of("web", 40_000, ""), None);
    }

    #[test]
    fn without_an_id_none_is_told() {
        let told = |uuid| variables(uuid).into_iter().any(|(name, _)| name == "container_uuid");
        assert!(told(Some("x")) && !told(None));
    }
}
