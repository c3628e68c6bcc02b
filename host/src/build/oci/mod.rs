//! `--method oci`: a guest from an image of the Open Container Initiative: a
//! layout directory, or an archive of one, also as `docker save` and `podman
//! save` write them.
//!
//! Nothing is downloaded. Everything in an image is hostile: its files count
//! once digest and length fit, and layers are laid as other archives are.

mod choose;
mod settings;
mod store;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use rustix::fs::{self, Mode, OFlags};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use shared::family::{INITS, OVERLAY};

use crate::archive::{Summed, hex};
use crate::config::init;
use crate::error::{Error, Result};
use crate::fsroot::RootDir;

use super::unpack::{self, Counted, Extractor, Watched};
use super::{Settings, Work, template};
use store::Store;

/// An index may lead to an index, but not for ever.
const MAX_DEPTH: usize = 4;

/// Which image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    path: PathBuf,
    tag: Option<String>,
}

impl Reference {
    /// Takes `PATH` or `PATH:TAG` apart, by what is there.
    pub(super) fn parse(text: &Path) -> Self {
        let is_there = |path: &str| path == "-" || Path::new(path).exists();
        let whole = Self { path: text.to_owned(), tag: None };
        let Some(words) = text.to_str().filter(|words| !is_there(words)) else { return whole };
        let splits = words.match_indices(':').map(|(at, _)| words.split_at(at));
        let mut fitting = splits.filter(|(path, _)| is_there(path));
        fitting.next().map_or(whole, |(path, tag)| Self {
            path: path.into(),
            tag: tag.get(1..).filter(|tag| !tag.is_empty()).map(str::to_owned),
        })
    }
}

/// An image that was found, with what its layers must sum up to.
struct Image {
    configuration: ImageConfiguration,
    layers: Vec<Layer>,
}

/// A layer with its digest, if one is told.
struct Layer {
    file: File,
    digest: Option<String>,
}

/// Is there such a file or directory?
///
/// # Errors
/// When there is none.
pub(super) fn check(from: &Path) -> Result<()> {
    let path = Reference::parse(from).path;
    if path == Path::new("-") || path.exists() {
        return Ok(());
    }
    Err(Error::new(format!("there is no image '{}'", path.display())))
}

/// Lays the image's layers into the root.
pub(super) fn fill(from: &Path, work: &mut Work<'_>) -> Result<(String, Settings)> {
    let reference = Reference::parse(from);
    let shown = reference.path.display().to_string();
    let filled = lay(&reference, work);
    // An interrupt makes reading fail; that is no fault of the image's.
    work.interrupt.check()?;
    let config =
        filled.map_err(|error| error.context(format_args!("cannot use the image '{shown}'")))?;
    if !template::is_system(work.root) {
        return Err(Error::new(format!("the image '{shown}' holds no system"))
            .hint("it lacks 'usr', 'etc' and the like, so that nothing in it could run"));
    }
    // That is what guest-init looks for; an image's own `/init` takes its command's words.
    let inits = INITS.into_iter().filter(|init| *init != OVERLAY);
    let init = inits.into_iter().find_map(|init| same(work.root, init));
    let (settings, remarks) = match config.config() {
        Some(config) => settings::settings(config, init.is_some(), |program| {
            // Busybox is all of its programs.
            init::is_init(program) && init.is_some() && same(work.root, program) == init
        }),
        None => Default::default(),
    };
    work.remarks.extend(remarks);
    Ok((format!("the image '{shown}'"), settings))
}

/// What tells a file of the root's from others.
fn same(root: &RootDir, path: &str) -> Option<(u64, u64)> {
    let file = root.open_at(Path::new(path), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let stat = fs::fstat(file).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

fn lay(reference: &Reference, work: &mut Work<'_>) -> Result<ImageConfiguration> {
    let store = Store::open(&reference.path, work)?;
    let tag = reference.tag.as_deref();
    let image = match (store.file("index.json")?, store.file("manifest.json")?) {
        (Some(index), _) => of_layout(&store, &index, tag)?,
        (None, Some(manifest)) => of_docker(&store, &manifest, tag)?,
        (None, None) => {
            return Err(Error::new("it has no 'index.json'").hint(
                "it takes an image layout, or an archive of one, such as 'podman save' writes",
            ));
        }
    };
    let configuration = image.configuration;
    let platform = format!("{}/{}", configuration.os(), configuration.architecture());
    if platform != format!("linux/{}", choose::architecture()) {
        return Err(Error::new(format!("it is for {platform}, and this machine is not")));
    }
    let sums = configuration.rootfs().diff_ids();
    if sums.len() != image.layers.len() {
        return Err(Error::new("its configuration is of another number of layers"));
    }
    let whole = |layer: &Layer| layer.file.metadata().map_or(0, |metadata| metadata.len());
    work.progress.bytes("laying layers", image.layers.iter().map(whole).sum());
    let position = Counted::default();
    let mut extractor = Extractor::new(work.root, work.interrupt, None);
    for (layer, sum) in image.layers.into_iter().zip(sums) {
        lay_layer(layer, sum, &position, &mut extractor, work)?;
    }
    work.remarks.extend(unpack::remarks(&extractor.finish()?));
    Ok(configuration)
}

fn lay_layer(
    layer: Layer,
    sum: &str,
    position: &Counted,
    extractor: &mut Extractor<'_>,
    work: &Work<'_>,
) -> Result<()> {
    let watched: Box<dyn Read> = Box::new(Watched::new(layer.file, position, work.interrupt));
    let packed = Summed::new(watched);
    let plain = Summed::new(unpack::decompressed(packed.share())?);
    extractor.begin_layer();
    unpack::walk(Box::new(plain.share()), &mut |entry, data| {
        work.progress.at(position.get());
        if extractor.whiteout(&entry.name)? { Ok(()) } else { extractor.extract(&entry, data) }
    })?;
    if format!("sha256:{}", store::sum(plain)?) != sum {
        return Err(store::damaged(sum));
    }
    match (layer.digest, store::sum(packed)?) {
        (Some(digest), sum) if digest != sum => Err(store::damaged(&digest)),
        _ => Ok(()),
    }
}

fn wrong(what: &str) -> impl Fn(oci_spec::OciSpecError) -> Error {
    move |cause| Error::new(format!("its {what} makes no sense: {cause}"))
}

/// An image of a layout.
fn of_layout(store: &Store, index: &[u8], tag: Option<&str>) -> Result<Image> {
    let index = ImageIndex::from_reader(index).map_err(wrong("index"))?;
    let mut chosen: Descriptor = choose::choose(index.manifests(), tag)?.clone();
    for _ in 0..MAX_DEPTH {
        if !choose::is_index(&chosen) {
            break;
        }
        let document = store.document(&chosen)?;
        let index = ImageIndex::from_reader(document.as_slice()).map_err(wrong("index"))?;
        chosen = choose::choose(index.manifests(), None)?.clone();
    }
    let document = store.document(&chosen)?;
    let manifest = ImageManifest::from_reader(document.as_slice()).map_err(wrong("manifest"))?;
    let document = store.document(manifest.config())?;
    let configuration =
        ImageConfiguration::from_reader(document.as_slice()).map_err(wrong("configuration"))?;
    let layer = |descriptor: &Descriptor| {
        let digest = Some(descriptor.digest().digest().to_owned());
        Ok(Layer { file: store.layer(descriptor)?, digest })
    };
    let layers = manifest.layers().iter().map(layer).collect::<Result<Vec<_>>>()?;
    Ok(Image { configuration, layers })
}

/// An entry of the `manifest.json` of docker's older archives.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An image of an archive of docker's without an index: its layers have no
/// digests but those in its configuration, which is named by its own.
fn of_docker(store: &Store, manifest: &[u8], tag: Option<&str>) -> Result<Image> {
    let images: Vec<Saved> = serde_json::from_slice(manifest)
        .map_err(|cause| Error::new(format!("its 'manifest.json' makes no sense: {cause}")))?;
    let tags = |image: &Saved| image.repo_tags.clone().unwrap_or_default();
    let is_meant = |image: &&Saved| {
        tag.is_none_or(|tag| tags(image).iter().any(|t| choose::is_called(t, tag)))
    };
    let mut meant = images.iter().filter(is_meant);
    let known: Vec<String> = images.iter().flat_map(tags).collect();
    let holds = format!("it holds {}", known.join(", ").escape_debug());
    let image = match (meant.next(), meant.next()) {
        (Some(image), None) => image,
        (Some(_), Some(_)) => {
            return Err(Error::new("it holds several images").hint(format!("name one; {holds}")));
        }
        (None, _) => return Err(Error::new("it holds no such image").hint(holds)),
    };
    let document = store.file(&image.config)?.unwrap_or_default();
    // Some name it by digest and algorithm.
    let name = image.config.trim_end_matches(".json").rsplit(['/', ':']).next().unwrap_or_default();
    if hex(&Sha256::digest(&document)) != name {
        return Err(store::damaged(name));
    }
    let configuration =
        ImageConfiguration::from_reader(document.as_slice()).map_err(wrong("configuration"))?;
    let layer = |name: &String| Ok(Layer { file: store.layer_named(name)?, digest: None });
    let layers = image.layers.iter().map(layer).collect::<Result<Vec<_>>>()?;
    Ok(Image { configuration, layers })
}

#[cfg(test)]
mod tests;
