//! What an operator does to a data directory: look, save, restore, repair, defragment.
//!
//! `look` and `save` also work beside a running store: its files only grow, are replaced whole, or go away, so what was
//! read is a state that was on disk, or reads as damaged and is read again. The others need the directory to themselves.

use std::path::Path;

use crate::disk::{Disk, RealDisk};
use crate::error::StoreError;
use crate::log::segment_first;
use crate::recover::{self, Verified};
use crate::revision::Revision;
use crate::snapshot::{
    read_snapshot, snapshot_name, snapshot_revision, write_snapshot, write_snapshot_as,
};
use crate::view::View;

/// A writer that ran on between two reads may make a whole log look broken; never so often in a row.
const LOOKS: usize = 5;

const SET_ASIDE: &str = ".damaged";

/// What `repair` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The revision at which the store stands now.
    pub revision: Revision,
    /// Files that were copied or renamed to NAME.damaged, in the order in which they were found.
    pub set_aside: Vec<String>,
}

/// The newest state on disk, whether or not a process is writing there.
pub fn look(disk: &dyn Disk) -> Result<View, StoreError> {
    patiently(|| recover::read(disk))
}

/// Reads and checks everything, whether or not a process is writing there; changes nothing.
pub fn verify(disk: &dyn Disk) -> Result<Verified, StoreError> {
    patiently(|| recover::verify(disk))
}

fn patiently<T>(read: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let mut looks = 1;
    loop {
        match read() {
            Err(StoreError::Corrupt { .. } | StoreError::Io { .. }) if looks < LOOKS => looks += 1,
            read => return read,
        }
    }
}

/// Writes a state as one file that `restore` takes. A file of that name is replaced, once the new one is whole.
pub fn save(view: &View, file: &Path) -> Result<(), StoreError> {
    let (directory, name) = directory_and_name(file)?;
    write_snapshot_as(&RealDisk::shared(directory)?, view, name)
}

/// Makes a store of a saved file. Gives its revision. Only where no store is yet.
pub fn restore(file: &Path, disk: &dyn Disk) -> Result<Revision, StoreError> {
    let (directory, name) = directory_and_name(file)?;
    let view = read_snapshot(&RealDisk::shared(directory)?, name)?;
    let names = list(disk)?;
    if names.iter().any(|name| is_data(name)) {
        let source = std::io::Error::from(std::io::ErrorKind::DirectoryNotEmpty);
        return Err(StoreError::io("restoring over a store", source));
    }
    write_snapshot(disk, &view)?;
    Ok(view.revision)
}

/// Cuts away what is damaged, so that the store opens at the newest revision that can still be proved. Whatever it cuts
/// stays beside it as NAME.damaged. Nothing is changed where nothing is damaged.
pub fn repair(disk: &dyn Disk) -> Result<Repaired, StoreError> {
    let mut set_aside: Vec<String> = Vec::new();
    loop {
        let (file, offset) = match recover::read(disk) {
            Ok(view) => {
                return Ok(Repaired {
                    revision: view.revision,
                    set_aside,
                });
            }
            Err(StoreError::Corrupt { file, offset, why }) => {
                if set_aside.contains(&file) || !list(disk)?.contains(&file) {
                    // The same file again, or damage that lies in no file: nothing here can mend it.
                    return Err(StoreError::Corrupt { file, offset, why });
                }
                (file, offset)
            }
            Err(error) => return Err(error),
        };
        let put_aside = || match segment_first(&file) {
            None => rename_aside(disk, &file).map(|()| vec![file.clone()]),
            Some(first) => cut_log(disk, &file, first, offset),
        };
        let moved = put_aside()
            .and_then(|moved| disk.sync_directory().map(|()| moved))
            .map_err(|source| StoreError::io("setting damaged files aside", source))?;
        set_aside.extend(moved);
    }
}

/// Writes everything into one fresh snapshot and removes all files before it. Gives the bytes before and after.
pub fn defragment(disk: &dyn Disk) -> Result<(u64, u64), StoreError> {
    let view = recover::read(disk)?;
    let before = list(disk)?;
    let bytes_before = size(disk, &before)?;
    write_snapshot(disk, &view)?;
    let kept = snapshot_name(view.revision);
    // Read again before anything goes: from here on it is all there is.
    read_snapshot(disk, &kept)?;
    let removed = before
        .iter()
        .filter(|name| is_data(name) && **name != kept)
        .try_for_each(|name| disk.remove(name))
        .and_then(|()| disk.sync_directory());
    removed.map_err(|source| StoreError::io("removing files that are not needed", source))?;
    Ok((bytes_before, size(disk, &list(disk)?)?))
}

fn directory_and_name(file: &Path) -> Result<(&Path, &str), StoreError> {
    let named = file.file_name().and_then(|name| name.to_str());
    let Some(name) = named else {
        let source = std::io::Error::from(std::io::ErrorKind::InvalidInput);
        return Err(StoreError::io(format!("{}", file.display()), source));
    };
    let directory = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    Ok((directory, name))
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, StoreError> {
    let mut names = disk
        .list()
        .map_err(|source| StoreError::io("listing the data directory", source))?;
    names.sort_unstable();
    Ok(names)
}

fn is_data(name: &str) -> bool {
    segment_first(name).is_some() || snapshot_revision(name).is_some()
}

fn size(disk: &dyn Disk, names: &[String]) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for name in names.iter().filter(|name| is_data(name)) {
        let read = disk.read(name);
        bytes += read
            .map_err(|source| StoreError::io(format!("reading {name}"), source))?
            .len();
    }
    Ok(bytes as u64)
}

fn rename_aside(disk: &dyn Disk, name: &str) -> std::io::Result<()> {
    disk.rename(name, &format!("{name}{SET_ASIDE}"))
}

/// A segment keeps what stands before `offset`; a whole copy of it and all later segments are set aside.
fn cut_log(
    disk: &dyn Disk,
    file: &str,
    first: Revision,
    offset: u64,
) -> std::io::Result<Vec<String>> {
    let bytes = disk.read(file)?;
    let mut copy = disk.create(&format!("{file}{SET_ASIDE}"), 0)?;
    copy.write_at(0, &bytes)?;
    copy.sync()?;
    disk.truncate(file, offset)?;
    let mut moved = vec![file.to_owned()];
    let mut names = disk.list()?;
    names.sort_unstable();
    for name in names {
        if segment_first(&name).is_some_and(|other| other > first) {
            rename_aside(disk, &name)?;
            moved.push(name);
        }
    }
    Ok(moved)
}
