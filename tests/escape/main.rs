//! Escapes, each tried from inside a real guest in all three modes of
//! `security.users`, and refused.
//!
//! A [`case::Case`] is an attempt of `tests/attacker`, and says what holds it.
//! That it would succeed without that is shown as well: against guests with
//! those layers off (`VSERVER_WITHOUT`), or where namespaces hold it, which
//! can't be left out, by the same attempt on the host or in a mere chroot.
//! What takes more than one program inside stands in tests of its own.

mod bait;
mod case;
mod scene;

/// Makes the tests of a class out of its cases.
macro_rules! tests_of {
    ($cases:expr) => {
        #[test]
        #[ignore = "root: boots guests"]
        fn is_refused_with_private_ids() {
            crate::case::refused($cases, crate::case::Users::Private);
        }

        #[test]
        #[ignore = "root: boots guests"]
        fn is_refused_with_identity_ids() {
            crate::case::refused($cases, crate::case::Users::Identity);
        }

        #[test]
        #[ignore = "root: boots guests"]
        fn is_refused_with_host_ids() {
            crate::case::refused($cases, crate::case::Users::Host);
        }

        #[test]
        #[ignore = "root: boots guests"]
        fn succeeds_without_what_holds_it() {
            crate::case::proven($cases);
        }
    };
}

mod calls;
mod devices;
mod exhaustion;
mod host_users;
mod ipc;
mod kernel_files;
mod links;
mod mounts;
mod processes;
mod root;
mod session;
mod sockets;
mod terminal;
