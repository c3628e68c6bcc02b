//! Which of the images in a layout is meant. Pure.

use oci_spec::image::{Descriptor, MediaType};

use crate::error::{Error, Result};

/// How layouts write an image's name (OCI image specification,
/// annotations.md; containerd, docker).
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// What docker calls an index and a manifest.
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// This machine's architecture, as images write it (Go's GOARCH).
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// Is it a list of further images?
pub(super) fn is_index(descriptor: &Descriptor) -> bool {
    match descriptor.media_type() {
        MediaType::ImageIndex => true,
        MediaType::Other(other) => other == DOCKER_INDEX,
        _ => false,
    }
}

fn is_image(descriptor: &Descriptor) -> bool {
    match descriptor.media_type() {
        MediaType::ImageManifest => true,
        MediaType::Other(other) => other == DOCKER_MANIFEST,
        _ => is_index(descriptor),
    }
}

fn names(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    let annotations = descriptor.annotations().as_ref();
    NAMES.iter().filter_map(move |key| annotations?.get(*key)).map(String::as_str)
}

/// `TAG` alone names `some/where:TAG` too.
pub(super) fn is_called(name: &str, tag: &str) -> bool {
    name == tag || name.strip_suffix(tag).is_some_and(|start| start.ends_with([':', '/']))
}

/// Chooses by name, then by platform.
pub(super) fn choose<'a>(list: &'a [Descriptor], tag: Option<&str>) -> Result<&'a Descriptor> {
    let images: Vec<&Descriptor> = list.iter().filter(|one| is_image(one)).collect();
    let mut known: Vec<&str> = images.iter().flat_map(|image| names(image).next()).collect();
    known.sort_unstable();
    known.dedup();
    let named: Vec<&Descriptor> = match tag {
        Some(tag) => images.into_iter().filter(|i| names(i).any(|n| is_called(n, tag))).collect(),
        None => images,
    };
    if named.is_empty() {
        return Err(match tag {
            Some(tag) => Error::new(format!("it holds no image '{}'", tag.escape_debug()))
                .hint(format!("it holds {}", listed(&known))),
            None => Error::new("it holds no image"),
        });
    }
    if tag.is_none() && known.len() > 1 {
        return Err(Error::new("it holds several images")
            .hint(format!("name one as PATH:TAG; it holds {}", listed(&known))));
    }
    let mut fitting: Vec<&Descriptor> = named.iter().copied().filter(|one| fits(one)).collect();
    // The plainest variant runs on every processor.
    fitting.sort_by_key(|one| one.platform().as_ref().and_then(|p| p.variant().clone()));
    fitting.first().copied().ok_or_else(|| {
        let platforms: Vec<String> = named.iter().filter_map(|one| platform(one)).collect();
        let platforms: Vec<&str> = platforms.iter().map(String::as_str).collect();
        Error::new(format!("it holds no image for linux/{}", architecture()))
            .hint(format!("it holds {}", listed(&platforms)))
    })
}

fn fits(descriptor: &Descriptor) -> bool {
    platform(descriptor).is_none_or(|platform| platform == format!("linux/{}", architecture()))
}

fn platform(descriptor: &Descriptor) -> Option<String> {
    let platform = descriptor.platform().as_ref()?;
    Some(format!("{}/{}", platform.os(), platform.architecture()))
}

fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> =
        words.iter().take(20).map(|word| format!("'{}'", word.escape_debug())).collect();
    if quoted.is_empty() { "none with a name".to_owned() } else { quoted.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::image::ImageIndex;

    fn index(manifests: &str) -> Vec<Descriptor> {
        let text = format!("{{\"schemaVersion\":2,\"manifests\":[{manifests}]}}");
        ImageIndex::from_reader(text.as_bytes()).unwrap().manifests().clone()
    }

    fn manifest(digit: char, platform: &str, name: &str) -> String {
        let digest: String = std::iter::repeat_n(digit, 64).collect();
        let (os, architecture) = platform.split_once('/').unwrap();
        format!(
            "{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"size\":1,\
             \"digest\":\"sha256:{digest}\",\
             \"platform\":{{\"os\":\"{os}\",\"architecture\":\"{architecture}\"}},\
             \"annotations\":{{\"org.opencontainers.image.ref.name\":\"{name}\"}}}}"
        )
    }

    #[test]
    fn the_platform_decides_and_then_the_tag() {
        let own = format!("linux/{}", architecture());
        let list = index(&[manifest('a', "linux/s390x", "x"), manifest('b', &own, "x")].join(","));
        assert!(choose(&list, None).unwrap().digest().digest().starts_with('b'));
        let list = index(&[manifest('a', &own, "r/d:12"), manifest('b', &own, "r/d:13")].join(","));
        assert!(choose(&list, None).unwrap_err().to_string().contains("several"));
        assert!(choose(&list, Some("13")).unwrap().digest().digest().starts_with('b'));
        assert!(choose(&list, Some("r/d:12")).unwrap().digest().digest().starts_with('a'));
        assert!(choose(&list, Some("3")).is_err());
        let list = index(&manifest('a', "unknown/unknown", "x"));
        assert!(choose(&list, None).is_err());
        assert!(choose(&[], None).is_err());
    }
}
