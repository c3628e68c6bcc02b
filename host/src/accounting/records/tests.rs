//! Rotation, as files are found whenever a crash comes.

use super::*;
use tempfile::TempDir;

/// On a disk: a file system in memory can't cut off.
fn place() -> (TempDir, Records) {
    let directory = TempDir::new_in("/var/tmp").unwrap();
    let records = Records::at(&directory.path().join("web.pacct"));
    records.make().unwrap();
    (directory, records)
}

/// Writes records as the kernel does.
fn write(records: &Records, pids: std::ops::Range<u32>) {
    let mut file = OpenOptions::new().append(true).open(&records.live).unwrap();
    let bytes: Vec<u8> = pids.flat_map(record).collect();
    io::Write::write_all(&mut file, &bytes).unwrap();
}

fn record(pid: u32) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes[1] = 3;
    bytes[16..20].copy_from_slice(&pid.to_le_bytes());
    bytes
}

fn pids(records: &Records) -> Vec<u32> {
    let mut pids = Vec::new();
    records.read(|record| pids.push(record.pid)).unwrap();
    pids
}

#[test]
fn rotation_loses_and_doubles_nothing_and_has_an_end() {
    let (_directory, records) = place();
    let limit = 100 * RECORD as u64;
    records.rotate(limit).unwrap();
    write(&records, 0..99);
    records.rotate(limit).unwrap();
    assert!(!records.old(1).exists());
    for round in 1..=4 {
        write(&records, round * 100 - 1..round * 100 + 99);
        records.rotate(limit).unwrap();
        assert!(records.length() < limit, "{}", records.length());
        assert_eq!(pids(&records), Vec::from_iter(0..round * 100 + 99));
    }
    // From here on the oldest go.
    write(&records, 499..599);
    records.rotate(limit).unwrap();
    let left = pids(&records);
    assert!(left[0] > 0 && left.is_sorted() && left.last() == Some(&598), "{left:?}");
    assert_eq!(left.len() as u32, 599 - left[0]);
    let files: Vec<_> = records.files().into_iter().filter(|file| file.exists()).collect();
    assert_eq!(files.len() as u32, KEPT + 1);
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_file_that_cannot_be_cut_is_emptied() {
    let (_directory, records) = place();
    write(&records, 0..200);
    let live = OpenOptions::new().read(true).write(true).open(&records.live).unwrap();
    let copy = File::create(records.copied()).unwrap();
    append(&live, &copy, 0, 64 * RECORD as u64).unwrap();
    empty(&live, &copy).unwrap();
    assert_eq!(records.length(), 0);
    write(&records, 200..210);
    // A crash now: the copy holds all the rest.
    assert_eq!(pids(&records), Vec::from_iter(0..210));
    records.rotate(u64::MAX).unwrap();
    assert!(!records.copied().exists() && records.old(1).exists());
    assert_eq!(pids(&records), Vec::from_iter(0..210));
}

#[test]
fn a_crash_in_a_rotation_loses_and_doubles_nothing() {
    let (_directory, records) = place();
    write(&records, 0..300);
    let whole = fs::read(&records.live).unwrap();
    // While it was copied.
    for length in [0, 1, 64, 4096, 4100] {
        fs::write(records.copied(), &whole[..length]).unwrap();
        assert_eq!(pids(&records), Vec::from_iter(0..300));
        records.rotate(u64::MAX).unwrap();
        assert!(!records.copied().exists());
        assert_eq!(pids(&records), Vec::from_iter(0..300));
    }
    // After it was cut off.
    fs::write(records.copied(), &whole[..4096]).unwrap();
    fs::write(&records.live, &whole[4096..]).unwrap();
    assert_eq!(pids(&records), Vec::from_iter(0..300));
    records.rotate(u64::MAX).unwrap();
    assert!(records.old(1).exists() && !records.copied().exists());
    assert_eq!(pids(&records), Vec::from_iter(0..300));
}

#[test]
fn a_reader_is_not_waited_for() {
    let (_directory, records) = place();
    write(&records, 0..200);
    let reader = File::open(&records.live).unwrap();
    reader.lock_shared().unwrap();
    records.rotate(64).unwrap();
    assert!(!records.old(1).exists());
    drop(reader);
    records.rotate(64).unwrap();
    assert!(records.old(1).exists());
}

#[test]
fn no_file_is_nothing_to_rotate() {
    let (_directory, records) = place();
    fs::remove_file(&records.live).unwrap();
    records.rotate(0).unwrap();
    assert!(!records.is_there() && records.length() == 0);
    assert!(records.last().is_err());
}
