//! What the log and the snapshots ask of a disk, and the real one.
//!
//! The trait says less than a file system does, and says it pessimistically: what is not synced may be lost, whole or in
//! part, in any order. The crashable disk (crashable.rs) does just that.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// A flat directory of files.
pub trait Disk: Send + Sync {
    /// Names, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// A new file of `size_bytes` zeros with room for them on the disk: writing within them never fails for want of
    /// space. Its content is synced, its name is not. A file of that name is replaced.
    fn create(&self, name: &str, size_bytes: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Cuts a file and syncs it.
    fn truncate(&self, name: &str, size_bytes: u64) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable: what was created, renamed or removed before.
    fn sync_directory(&self) -> io::Result<()>;
    /// Nothing more will be written: another process may have it.
    fn release(&self) {}
}

pub trait DiskFile: Send {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Returns once everything written is on the disk. After an error nobody knows what is.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of this process alone, as long as the value lives; or, `shared`, one to look into or to put a file in.
pub struct RealDisk {
    directory: PathBuf,
    /// Held locked; the system lets go of it when the process dies, however it dies.
    lock: Option<File>,
}

const LOCK_NAME: &str = "LOCK";
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

impl RealDisk {
    /// Makes the directory if it is not there. Raises `InUse` if another process (or store) holds it.
    pub fn open(directory: &Path) -> Result<RealDisk, StoreError> {
        let shown = directory.display().to_string();
        let failed = |source| StoreError::io(format!("opening the data directory {shown}"), source);
        make_directory(directory).map_err(failed)?;
        let path = directory.join(LOCK_NAME);
        let mut lock = owners_file()
            .read(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(in_use(shown, &mut lock)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let sign = lock
            .set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        sign.map_err(failed)?;
        Ok(RealDisk {
            directory: directory.to_owned(),
            lock: Some(lock),
        })
    }

    /// A directory that is there, unlocked: another process may be writing in it.
    pub fn shared(directory: &Path) -> Result<RealDisk, StoreError> {
        let found = std::fs::read_dir(directory).map(drop);
        found.map_err(|source| {
            let shown = directory.display();
            StoreError::io(format!("opening the directory {shown}"), source)
        })?;
        Ok(RealDisk {
            directory: directory.to_owned(),
            lock: None,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Says who holds the directory, as far as the holder has signed.
fn in_use(directory: String, lock: &mut File) -> StoreError {
    let mut holder = String::new();
    // What cannot be read is not said.
    let _ = lock.read_to_string(&mut holder);
    StoreError::InUse {
        directory,
        holder: holder.trim().to_owned(),
    }
}

/// For writing, and for nobody else to read: Secrets are in it.
fn owners_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).write(true).mode(0o600);
    options
}

/// Makes a directory and what leads to it, and makes their names durable.
fn make_directory(directory: &Path) -> io::Result<()> {
    let directory = std::path::absolute(directory)?;
    let missing = directory
        .ancestors()
        .take_while(|ancestor| !ancestor.exists())
        .count();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    for parent in directory.ancestors().skip(1).take(missing) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.directory)?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names
            .filter(|name| !matches!(name, Ok(name) if name == LOCK_NAME))
            .collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(name))
    }

    fn create(&self, name: &str, size_bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path(name);
        let mut file = owners_file().truncate(true).open(path)?;
        // Written zeros, not a hole and not merely reserved blocks: a sync of data that lands in them has no
        // metadata to write, which makes it nearly twice as fast.
        let mut left = size_bytes;
        while left > 0 {
            let count = left.min(ZEROS.len() as u64);
            file.write_all(&ZEROS[..count as usize])?;
            left -= count;
        }
        file.sync_all()?;
        Ok(Box::new(RealFile(file)))
    }

    fn truncate(&self, name: &str, size_bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path(name))?;
        file.set_len(size_bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn release(&self) {
        // Should it fail, the lock goes with the process.
        if let Some(lock) = &self.lock {
            let _ = lock.unlock();
        }
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}
