//! Talks to machined over D-Bus (org.freedesktop.machine1(5)).

use shared::name::GuestName;
use zbus::fdo;
use zbus::message::Message;

use zbus::{Connection, DynamicType, Error as BusError, OwnedObjectPath, OwnedVariant, block_on};

use super::End;
use super::machine::{Known, Machine, SERVICE, Step, next};

const MACHINED: &str = "org.freedesktop.machine1";
const MANAGER: &str = "/org/freedesktop/machine1";
const MANAGER_INTERFACE: &str = "org.freedesktop.machine1.Manager";
const MACHINE_INTERFACE: &str = "org.freedesktop.machine1.Machine";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// machined's own words.
const NO_SUCH_MACHINE: &str = "org.freedesktop.machine1.NoSuchMachine";
const MACHINE_EXISTS: &str = "org.freedesktop.machine1.MachineExists";

/// Answers of the bus, or of systemd behind it, when there is no machined to be
/// had (dbus-daemon(1); a unit that is masked, or gone, can't be started).
const ABSENT: [&str; 3] = [
    "org.freedesktop.systemd1.NoSuchUnit",
    "org.freedesktop.systemd1.UnitMasked",
    "org.freedesktop.systemd1.LoadFailed",
];

/// So many steps lead from anything to anything, also when machined forgets a
/// machine of its own accord meanwhile.
const STEPS: usize = 6;

/// Makes machined know what is wanted of a guest; `None` when it is down. Waits
/// as long as it takes.
pub fn settle(name: &GuestName, wanted: Option<&Machine>) -> End {
    let settled = block_on(async {
        let bus = Bus(Connection::system().await?);
        for _ in 0..STEPS {
            let known = bus.known(name).await?;
            match next(&known, wanted, name) {
                Step::Nothing => return Ok(End::Settled),
                Step::GiveUp => return Ok(End::Taken),
                Step::Unregister => bus.unregister(name).await?,
                Step::Register => match wanted {
                    Some(machine) => bus.register(name, machine).await?,
                    None => return Ok(End::Settled),
                },
            }
        }
        Ok(End::Failed)
    });
    settled.unwrap_or_else(|error| {
        tracing::debug!("machined: {error}");
        match is_absent(&error) {
            true => End::Absent,
            false => End::Failed,
        }
    })
}

fn is_absent(error: &BusError) -> bool {
    match error {
        BusError::FDO(error) => {
            matches!(**error, fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_))
        }
        BusError::MethodError(name, ..) => ABSENT.contains(&name.as_str()),
        _ => false,
    }
}

/// Is this machined's answer of that name?
fn says(error: &BusError, what: &str) -> bool {
    matches!(error, BusError::MethodError(name, ..) if name.as_str() == what)
}

struct Bus(Connection);

impl Bus {
    async fn call<B>(&self, method: &str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + DynamicType,
    {
        self.0.call_method(Some(MACHINED), MANAGER, Some(MANAGER_INTERFACE), method, body).await
    }

    async fn known(&self, name: &GuestName) -> zbus::Result<Known> {
        let found = match self.call("GetMachine", &name.as_str()).await {
            Err(error) if says(&error, NO_SUCH_MACHINE) => return Ok(Known::Nobody),
            found => found?,
        };
        let path: OwnedObjectPath = found.body().deserialize()?;
        let known = self.machine(&path).await;
        // It may go between two questions.
        match known {
            Err(BusError::FDO(error)) if matches!(*error, fdo::Error::UnknownObject(_)) => {
                Ok(Known::Nobody)
            }
            known => known,
        }
    }

    async fn machine(&self, path: &OwnedObjectPath) -> zbus::Result<Known> {
        let service: String = self.property(path, "Service").await?;
        if service != SERVICE {
            return Ok(Known::Others);
        }
        let leader = self.property(path, "Leader").await?;
        let unit = self.property(path, "Unit").await?;
        Ok(Known::Guest { leader, unit })
    }

    async fn property<T>(&self, path: &OwnedObjectPath, property: &str) -> zbus::Result<T>
    where
        T: TryFrom<OwnedVariant, Error: Into<BusError>>,
    {
        let body = (MACHINE_INTERFACE, property);
        let answer =
            self.0.call_method(Some(MACHINED), path, Some(PROPERTIES), "Get", &body).await?;
        let value: OwnedVariant = answer.body().deserialize()?;
        value.try_into().map_err(Into::into)
    }

    async fn unregister(&self, name: &GuestName) -> zbus::Result<()> {
        match self.call("UnregisterMachine", &name.as_str()).await {
            Err(error) if says(&error, NO_SUCH_MACHINE) => Ok(()),
            done => done.map(drop),
        }
    }

    async fn register(&self, name: &GuestName, machine: &Machine) -> zbus::Result<()> {
        let body = (
            name.as_str(),
            machine.id.as_slice(),
            SERVICE,
            "container",
            machine.leader,
            &*machine.root.to_string_lossy(),
            machine.interfaces.as_slice(),
        );
        match self.call("RegisterMachineWithNetwork", &body).await {
            // Somebody else was quicker: the next look says who.
            Err(error) if says(&error, MACHINE_EXISTS) => Ok(()),
            done => done.map(drop),
        }
    }
}
