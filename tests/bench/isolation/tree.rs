//! Files as unpacking and building use them: a tree of some thousand files is
//! written, listed, looked at, read, renamed and removed.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

const TREE: &str = "/root/bench-tree";

const DIRECTORIES: usize = 100;
const FILES: usize = 20;

/// Bytes of files. Half of them are below 6 KB and the mean is 14 KB, roughly
/// as in the source tree of Linux.
const SIZES: [usize; 10] = [200, 700, 1_500, 2_800, 4_500, 7_000, 11_000, 18_000, 32_000, 65_000];

/// Does it all once.
pub fn once() {
    let content = vec![b'x'; SIZES[SIZES.len() - 1]];
    write(&content);
    let files = list(Path::new(TREE));
    assert_eq!(files.len(), DIRECTORIES * FILES, "the tree is whole");
    let bytes: u64 = files.iter().map(|file| size(file)).sum();
    let read: usize = files.iter().map(|file| read(file)).sum();
    assert_eq!(bytes, read as u64, "the files are whole");
    for file in &files {
        fs::rename(file, file.with_extension("o")).expect("a file can be renamed");
    }
    fs::remove_dir_all(TREE).expect("a tree can be removed");
}

fn write(content: &[u8]) {
    let mut sizes = SIZES.iter().cycle();
    for directory in 0..DIRECTORIES {
        let directory = Path::new(TREE).join(format!("part-{directory}"));
        fs::create_dir_all(&directory).expect("a directory can be made");
        for (file, size) in (0..FILES).zip(&mut sizes) {
            let file = directory.join(format!("file-{file}.c"));
            fs::write(file, &content[..*size]).expect("a file can be written");
        }
    }
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory can be read") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_dir() {
            files.extend(list(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

fn size(file: &Path) -> u64 {
    fs::symlink_metadata(file).expect("the file is there").len()
}

fn read(file: &Path) -> usize {
    black_box(fs::read(file).expect("a file can be read")).len()
}
