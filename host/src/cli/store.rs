//! As what a new guest's files lie on the host.

use clap::{Args, ValueEnum};

use crate::build::{Blank, Size, Store};
use crate::config::limits::bytes;
use crate::config::{Files, Place};
use crate::error::{Error, Result};

/// Options of what makes a guest.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// As what its files lie on this host. docs/storage.md tells more.
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Kind::Auto)]
    pub storage: Kind,
    /// image: its size, such as '4G'. Blocks of the disk are taken when they are
    /// written to.
    #[arg(long, value_parser = size)]
    pub size: Option<Size>,
    /// image: the file system in it; ext4 when not given, and for a copy of another
    /// image that one's.
    #[arg(long, value_enum, value_name = "TYPE")]
    pub filesystem: Option<FileSystem>,
}

/// What a new image can be made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileSystem {
    /// By the host's mkfs.ext4.
    Ext4,
    /// By the host's mkfs.xfs; 300 MiB at least.
    Xfs,
}

/// As what files can lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// As those of the guest that is copied; else a directory.
    Auto,
    /// A directory; on btrfs a subvolume.
    Directory,
    /// clone: a directory with what differs from the '--snapshot'.
    Overlay,
    /// A file with a file system of its own, of a '--size'.
    Image,
}

impl StoreArgs {
    /// For a guest whose files come from elsewhere.
    ///
    /// # Errors
    /// When a size is missing, or given to what has none.
    pub fn of_build(&self) -> Result<Store> {
        match self.storage {
            Kind::Auto | Kind::Directory => self.only_of_image().map(|()| Store::Directory),
            Kind::Image => self.image(),
            Kind::Overlay => Err(Error::usage("only a clone can lie over other files").hint(
                "build one guest, make a snapshot of it, and clone that: \
                 vserver clone GUEST NEW --snapshot NAME --storage overlay",
            )),
        }
    }

    /// The options that say the same to another host's vserver; none for what it does
    /// by itself.
    pub fn words(&self) -> Vec<String> {
        fn name(value: &impl ValueEnum) -> String {
            value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
        }
        let storage = Some(&self.storage).filter(|kind| **kind != Kind::Auto);
        let size = self.size.map(|size| format!("--size={}", size.bytes()));
        let options = [
            storage.map(|kind| format!("--storage={}", name(kind))),
            size,
            self.filesystem.as_ref().map(|kind| format!("--filesystem={}", name(kind))),
        ];
        options.into_iter().flatten().collect()
    }

    /// For a copy of the files at this place; says too if they are to be
    /// copied one by one.
    ///
    /// # Errors
    /// When a size is missing, or given to what has none; when what the files
    /// would lie over isn't a snapshot of whole files.
    pub fn of_clone(&self, from: &Place, is_snapshot: bool) -> Result<(Store, bool)> {
        let root = || from.root.clone();
        match (self.storage, &from.files) {
            (Kind::Auto | Kind::Image, Files::Image) if self.filesystem.is_none() => {
                Ok(match self.size {
                    None => (Store::ImageOf(root()), false),
                    Some(size) => (Store::ImageLike(size, root()), true),
                })
            }
            (Kind::Image, _) | (Kind::Auto, Files::Image) => {
                self.image().map(|image| (image, true))
            }
            (Kind::Auto | Kind::Overlay, Files::Overlay { base }) => {
                self.only_of_image()?;
                Ok((Store::Overlay { base: base.clone(), of: Some(root()) }, false))
            }
            (Kind::Auto | Kind::Directory, Files::Directory) => {
                self.only_of_image()?;
                Ok((Store::DirectoryOf(root()), false))
            }
            (Kind::Directory, _) => {
                self.only_of_image()?;
                Ok((Store::Directory, true))
            }
            (Kind::Overlay, Files::Directory) if is_snapshot => {
                self.only_of_image()?;
                Ok((Store::Overlay { base: root(), of: None }, false))
            }
            (Kind::Overlay, Files::Directory) => Err(Error::usage(
                "a guest can lie over files only that nobody changes",
            )
            .hint("give a '--snapshot' of the other guest; 'vserver snapshot create' makes one")),
            (Kind::Overlay, Files::Image) => {
                Err(Error::usage("a guest can't lie over the files of an image"))
            }
        }
    }

    /// A new image.
    fn image(&self) -> Result<Store> {
        let size = self.size.ok_or_else(without_size)?;
        let blank = match self.filesystem {
            None | Some(FileSystem::Ext4) => Blank::ext4(size),
            Some(FileSystem::Xfs) => Blank::xfs(size)?,
        };
        Ok(Store::Image(blank))
    }

    /// # Errors
    /// When something is given that only a new image has.
    fn only_of_image(&self) -> Result<()> {
        let given = [("--size", self.size.is_some()), ("--filesystem", self.filesystem.is_some())];
        match given.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((option, _)) => {
                Err(Error::usage(format!("'{option}' goes with '--storage image' only")))
            }
        }
    }
}

fn without_size() -> Error {
    Error::usage("a new image needs a '--size', such as '--size 4G'")
}

fn size(text: &str) -> std::result::Result<Size, String> {
    let bytes = bytes(text).ok_or("a size is a number of bytes, or one of K, M, G and T")?;
    Size::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_like_what_is_copied_unless_told_otherwise() {
        let of = |storage, size: Option<&str>, files, is_snapshot| {
            let size = size.map(|text| super::size(text).unwrap());
            let args = StoreArgs { storage, size, filesystem: None };
            args.of_clone(&Place { root: "/r".into(), files }, is_snapshot).ok()
        };
        let size = Size::new(1 << 30).unwrap();
        let overlay = Files::Overlay { base: "/b".into() };
        let over = |base: &str, of: Option<&str>| Store::Overlay {
            base: base.into(),
            of: of.map(Into::into),
        };
        let same = Some((over("/b", Some("/r")), false));
        let copied = Some((Store::Directory, true));
        let whole = Some((Store::DirectoryOf("/r".into()), false));
        assert_eq!(of(Kind::Auto, None, Files::Directory, false), whole);
        assert_eq!(of(Kind::Directory, None, Files::Directory, true), whole);
        assert_eq!(of(Kind::Auto, None, overlay.clone(), false), same);
        assert_eq!(of(Kind::Overlay, None, overlay.clone(), true), same);
        assert_eq!(of(Kind::Directory, None, overlay.clone(), false), copied);
        assert_eq!(of(Kind::Directory, None, Files::Image, false), copied);
        let image = Some((Store::ImageOf("/r".into()), false));
        assert_eq!(of(Kind::Auto, None, Files::Image, false), image);
        assert_eq!(of(Kind::Image, None, Files::Image, false), image);
        let like = Some((Store::ImageLike(size, "/r".into()), true));
        assert_eq!(of(Kind::Auto, Some("1G"), Files::Image, false), like);
        let new = Some((Store::Image(Blank::ext4(size)), true));
        assert_eq!(of(Kind::Image, Some("1G"), overlay.clone(), false), new);
        assert_eq!(of(Kind::Image, None, Files::Directory, false), None);
        assert_eq!(of(Kind::Directory, Some("1G"), Files::Directory, false), None);
        assert_eq!(of(Kind::Overlay, Some("1G"), overlay, false), None);
        assert_eq!(of(Kind::Overlay, None, Files::Directory, false), None);
        assert_eq!(
            of(Kind::Overlay, None, Files::Directory, true),
            Some((over("/r", None), false))
        );
        assert_eq!(of(Kind::Overlay, None, Files::Image, true), None);
    }

    #[test]
    fn a_new_image_has_the_file_system_that_is_wanted() {
        let of = |storage, size: Option<&str>| {
            let size = size.map(|text| super::size(text).unwrap());
            let args = StoreArgs { storage, size, filesystem: Some(FileSystem::Xfs) };
            let image = Place { root: "/r".into(), files: Files::Image };
            (args.of_build().ok(), args.of_clone(&image, false).ok())
        };
        let new = Store::Image(Blank::xfs(Size::new(1 << 30).unwrap()).unwrap());
        assert_eq!(of(Kind::Image, Some("1G")), (Some(new.clone()), Some((new, true))));
        assert_eq!(of(Kind::Image, Some("299M")), (None, None));
        assert_eq!(of(Kind::Image, None), (None, None));
        assert_eq!(of(Kind::Directory, None), (None, None));
    }

    #[test]
    fn sizes_are_written_as_limits_are() {
        assert_eq!(size("1G"), Size::new(1 << 30));
        assert!(size("x").is_err() && size("1K").is_err());
    }
}
