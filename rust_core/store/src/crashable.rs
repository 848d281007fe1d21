//! A disk in memory that can crash, for tests: what was not synced is lost, kept or torn, as the test chooses.
//!
//! It counts every operation that a crash could fall before or into, so that a test can try them all.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};

/// What a real disk writes or does not, never half of it.
pub const SECTOR_BYTES: usize = 512;

#[derive(Clone, Default)]
pub struct CrashableDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By name, as the running process sees it.
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    /// By name, as the directory was last synced.
    synced_files: BTreeMap<String, Arc<Mutex<Content>>>,
    operations: u64,
    /// The process dies before this many operations have been done.
    dies_after: Option<u64>,
    ignores_sync: bool,
    is_full: bool,
    sync_fails: bool,
}

#[derive(Default)]
struct Content {
    current: Vec<u8>,
    synced: Vec<u8>,
    /// Writes since the last sync: (offset, bytes), in sectors.
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        overwrite(&mut self.current, offset, bytes);
        let mut start = 0;
        while start < bytes.len() {
            let sector_end = (offset + start) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
            let end = bytes.len().min(sector_end - offset);
            self.unsynced
                .push((offset + start, bytes[start..end].to_vec()));
            start = end;
        }
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.current);
        self.unsynced.clear();
    }
}

fn overwrite(bytes: &mut Vec<u8>, offset: usize, with: &[u8]) {
    if bytes.len() < offset + with.len() {
        bytes.resize(offset + with.len(), 0);
    }
    bytes[offset..offset + with.len()].copy_from_slice(with);
}

fn died() -> io::Error {
    io::Error::other("the process has died")
}

impl State {
    fn operation(&mut self) -> io::Result<()> {
        if self
            .dies_after
            .is_some_and(|limit| self.operations >= limit)
        {
            return Err(died());
        }
        self.operations += 1;
        Ok(())
    }

    fn file(&self, name: &str) -> io::Result<Arc<Mutex<Content>>> {
        self.files
            .get(name)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl CrashableDisk {
    pub fn new() -> CrashableDisk {
        CrashableDisk::default()
    }

    /// Every sync becomes a lie: a test of crashes must fail on such a disk.
    pub fn ignoring_sync(self) -> CrashableDisk {
        self.state.lock().ignores_sync = true;
        self
    }

    /// Every operation after so many more fails, as if the process were dead.
    pub fn dying_after(self, operations: u64) -> CrashableDisk {
        {
            let mut state = self.state.lock();
            state.dies_after = Some(state.operations + operations);
        }
        self
    }

    pub fn set_full(&self, is_full: bool) {
        self.state.lock().is_full = is_full;
    }

    pub fn set_sync_fails(&self, sync_fails: bool) {
        self.state.lock().sync_fails = sync_fails;
    }

    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// The disk after the power went: of what was not synced, `keeps` chooses sector by sector what is there all the
    /// same, and name by name.
    pub fn crash(&self, mut keeps: impl FnMut() -> bool) -> CrashableDisk {
        let state = self.state.lock();
        let mut names: BTreeMap<String, Arc<Mutex<Content>>> = state.synced_files.clone();
        for name in state.files.keys().chain(state.synced_files.keys()) {
            let (now, before) = (state.files.get(name), state.synced_files.get(name));
            let is_same =
                matches!((now, before), (Some(now), Some(before)) if Arc::ptr_eq(now, before));
            if !is_same && keeps() {
                match now {
                    Some(now) => names.insert(name.clone(), now.clone()),
                    None => names.remove(name),
                };
            }
        }
        let survives = |content: &Arc<Mutex<Content>>, keeps: &mut dyn FnMut() -> bool| {
            let content = content.lock();
            let mut bytes = content.synced.clone();
            for (offset, written) in &content.unsynced {
                if keeps() {
                    overwrite(&mut bytes, *offset, written);
                }
            }
            Arc::new(Mutex::new(Content {
                current: bytes.clone(),
                synced: bytes,
                unsynced: Vec::new(),
            }))
        };
        let files: BTreeMap<_, _> = names
            .iter()
            .map(|(name, content)| (name.clone(), survives(content, &mut keeps)))
            .collect();
        let ignores_sync = state.ignores_sync;
        let state = State {
            synced_files: files.clone(),
            files,
            ignores_sync,
            ..State::default()
        };
        CrashableDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The disk after kill -9: the system still has everything.
    pub fn kill(&self) -> CrashableDisk {
        self.crash(|| true)
    }

    /// Turns bits over in a file, as a failing disk does.
    pub fn damage(&self, name: &str, offset: usize) {
        let content = self.state.lock().files[name].clone();
        let mut content = content.lock();
        content.current[offset] ^= 0xff;
        content.synced[offset] ^= 0xff;
    }
}

impl Disk for CrashableDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let content = self.state.lock().file(name)?;
        let bytes = content.lock().current.clone();
        Ok(bytes)
    }

    fn create(&self, name: &str, size_bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.operation()?;
        if state.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let zeros = vec![0; size_bytes as usize];
        let content = Content {
            current: zeros.clone(),
            synced: zeros,
            unsynced: Vec::new(),
        };
        let content = Arc::new(Mutex::new(content));
        state.files.insert(name.to_owned(), content.clone());
        Ok(Box::new(CrashableFile {
            state: self.state.clone(),
            content,
        }))
    }

    fn truncate(&self, name: &str, size_bytes: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation()?;
        let content = state.file(name)?;
        let mut content = content.lock();
        content.current.truncate(size_bytes as usize);
        content.sync();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation()?;
        let content = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation()?;
        state
            .files
            .remove(name)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation()?;
        if !state.ignores_sync {
            state.synced_files = state.files.clone();
        }
        Ok(())
    }
}

struct CrashableFile {
    state: Arc<Mutex<State>>,
    content: Arc<Mutex<Content>>,
}

impl DiskFile for CrashableFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Err(error) = state.operation() {
            if state.dies_after == Some(state.operations) {
                // Dying in the middle of a write: the system got some of it.
                self.content
                    .lock()
                    .write(offset as usize, &bytes[..bytes.len() / 2]);
            }
            return Err(error);
        }
        self.content.lock().write(offset as usize, bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation()?;
        if state.sync_fails {
            return Err(io::Error::other("the disk is gone"));
        }
        if !state.ignores_sync {
            self.content.lock().sync();
        }
        Ok(())
    }
}
