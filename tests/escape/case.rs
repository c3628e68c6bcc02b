//! An attempt as data, and its two judgements: refused in every mode, and
//! successful without what holds it.

use std::path::Path;

use tests::Finished;
use vserver::facts;

use crate::scene::Scene;

/// `security.users`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    Private,
    Identity,
    Host,
}

impl Users {
    pub const ALL: [Self; 3] = [Self::Private, Self::Identity, Self::Host];

    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Identity => "identity",
            Self::Host => "host",
        }
    }
}

/// What refuses an attempt, and so where it succeeds.
#[derive(Clone, Copy, Debug)]
pub enum Held {
    /// These layers (`VSERVER_WITHOUT`), each of them alone, in a guest with
    /// the host's ids, where no user namespace helps. Without all of them the
    /// attempt succeeds.
    By(&'static [&'static str]),
    /// The system call filter; and where the kernel takes a program that
    /// judges families of sockets, the layer of devices that it belongs to.
    /// Each alone, whatever capabilities the guest has: some kernels ask some
    /// families for one.
    Families,
    /// The same as `By` in a guest with ids of its own: what its user namespace
    /// would allow.
    ByWithin(&'static [&'static str]),
    /// The guest's namespaces. The same attempt by root on the host succeeds.
    Namespaces,
    /// The guest's root directory, in a mount namespace of its own. The same
    /// attempt in a chroot(8) to it succeeds, with a descriptor left open.
    OwnRoot,
    /// The guest's namespaces, for what another guest has. The same attempt
    /// within that guest succeeds.
    Neighbour,
    /// Nothing that could be shown here, because of this.
    Unproven(&'static str),
}

/// An attempt to get out.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name in results.
    pub name: &'static str,
    /// The technique, and where it was used.
    pub technique: &'static str,
    /// What holds it.
    pub held: Held,
    /// Arguments of the attacker; [`Scene::fill`] knows the words in braces.
    pub attempt: &'static [&'static str],
    /// A file of the host without which there is nothing to try; a directory
    /// with something in it.
    pub needs: Option<&'static str>,
}

/// A case that every kernel has.
pub const fn case(
    name: &'static str,
    technique: &'static str,
    held: Held,
    attempt: &'static [&'static str],
) -> Case {
    Case { name, technique, held, attempt, needs: None }
}

impl Case {
    /// A case only where the host has this file.
    pub const fn needs(mut self, path: &'static str) -> Self {
        self.needs = Some(path);
        self
    }

    fn words(&self) -> Vec<&'static str> {
        let needed = self.needs.unwrap_or_default();
        self.attempt.iter().map(|word| if *word == "{needed}" { needed } else { word }).collect()
    }

    fn is_possible(&self) -> bool {
        let Some(path) = self.needs.map(Path::new) else { return true };
        let empty = path.read_dir().is_ok_and(|mut entries| entries.next().is_none());
        let there = path.exists() && !empty;
        if !there {
            println!("{}: not here, this kernel has no {}", self.name, path.display());
        }
        there
    }
}

/// Cases of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// Its name in results.
    pub name: &'static str,
    /// What belongs to it.
    pub cases: &'static [Case],
}

/// Those of all classes that this kernel has.
fn possible(classes: &[Class]) -> Vec<&'static Case> {
    let mut possible = Vec::new();
    for class in classes {
        let here: Vec<_> = class.cases.iter().filter(|case| case.is_possible()).collect();
        println!("{}: {} cases, {} of them here", class.name, class.cases.len(), here.len());
        possible.extend(here);
    }
    println!("{} cases", possible.len());
    possible
}

/// What the attacker's exit code says.
const ESCAPED: i32 = 0;
const REFUSED: i32 = 1;

/// Results that are not as they have to be.
struct Verdicts(Vec<String>);

impl Verdicts {
    fn note(&mut self, case: &Case, place: &str, expected: i32, answer: &Finished) {
        let said = answer.stdout.trim();
        println!("{} in {place}: {said}", case.name);
        if answer.code != expected {
            let wanted = if expected == ESCAPED { "had to succeed" } else { "had to be refused" };
            self.0
                .push(format!("{} ({}) {wanted} in {place}\n{answer}", case.name, case.technique));
        }
    }

    #[track_caller]
    fn judge(self) {
        assert!(self.0.is_empty(), "{} wrong:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Every case is refused in a guest with these ids.
#[track_caller]
pub fn refused(classes: &[Class], users: Users) {
    let scene = Scene::new();
    let guest = scene.guest(users, &[]);
    let mut verdicts = Verdicts(Vec::new());
    for case in possible(classes) {
        let answer = scene.inside(&guest, &case.words());
        verdicts.note(case, users.name(), REFUSED, &answer);
    }
    scene.assert_untouched();
    verdicts.judge();
}

/// Every case succeeds without what holds it, and each layer alone holds it.
#[track_caller]
pub fn proven(classes: &[Class]) {
    let scene = Scene::new();
    let mut verdicts = Verdicts(Vec::new());
    for case in possible(classes) {
        match case.held {
            Held::By(layers) => by_layers(&scene, case, Users::Host, layers, &mut verdicts),
            Held::Families => by_families(&scene, case, &mut verdicts),
            Held::ByWithin(layers) => {
                by_layers(&scene, case, Users::Private, layers, &mut verdicts)
            }
            Held::Namespaces => {
                verdicts.note(case, "the host", ESCAPED, &scene.on_host(&case.words()));
            }
            Held::OwnRoot => {
                verdicts.note(case, "a chroot", ESCAPED, &scene.in_chroot(&case.words()));
            }
            Held::Neighbour => {
                // Filled first: this makes the neighbour.
                let words: Vec<_> = case.words().into_iter().map(|word| scene.fill(word)).collect();
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                verdicts.note(case, "the neighbour", ESCAPED, &scene.inside("neighbour", &words));
            }
            Held::Unproven(reason) => println!("{}: unproven, {reason}", case.name),
        }
    }
    verdicts.judge();
}

fn by_layers(
    scene: &Scene,
    case: &Case,
    users: Users,
    layers: &[&'static str],
    verdicts: &mut Verdicts,
) {
    let place = |without: &[&str]| format!("{} without {}", users.name(), without.join(" and "));
    for alone in layers.iter().filter(|_| layers.len() > 1) {
        let without: Vec<_> = layers.iter().copied().filter(|layer| layer != alone).collect();
        let answer = scene.inside(&scene.guest(users, &without), &case.words());
        verdicts.note(case, &place(&without), REFUSED, &answer);
    }
    let answer = scene.inside(&scene.guest(users, layers), &case.words());
    verdicts.note(case, &place(layers), ESCAPED, &answer);
}

fn by_families(scene: &Scene, case: &Case, verdicts: &mut Verdicts) {
    let mut attempt = |without: &[&str], expected| {
        let answer = scene.inside(&scene.guest(Users::Host, without), &case.words());
        let place = format!("host without {}", without.join(" and "));
        verdicts.note(case, &place, expected, &answer);
    };
    if facts::socket_hook(&scene.host.paths().run_dir()).is_some() {
        attempt(&["capabilities", "devices"], REFUSED);
        attempt(&["capabilities", "system-calls"], REFUSED);
        attempt(&["capabilities", "devices", "system-calls"], ESCAPED);
    } else {
        attempt(&["capabilities"], REFUSED);
        attempt(&["capabilities", "system-calls"], ESCAPED);
    }
}
