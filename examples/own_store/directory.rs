//! A store of your own: a directory with a file for each key, for one process.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use idempotent_runtime::store::{Expect, Head, Put, Seen, Store, StoreError, StoreKey, Swapped};
use sha2::{Digest, Sha256};

pub(crate) struct DirectoryStore {
    directory: PathBuf,
    /// Reading and writing must be one step.
    lock: Mutex<()>,
}

impl DirectoryStore {
    pub(crate) fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, lock: Mutex::default() })
    }

    fn file(&self, key: &StoreKey) -> PathBuf {
        self.directory.join(hex::encode(Sha256::digest(key.as_str())))
    }

    /// A file is the moment when the record expires (microseconds since 1970, 8 bytes), and then the record.
    fn seen(&self, key: &StoreKey, now: SystemTime) -> Result<Seen, StoreError> {
        let mut bytes = match fs::read(self.file(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Seen::Absent),
            bytes => bytes.map_err(failed)?,
        };
        let record = bytes.split_off(bytes.len().min(8));
        let (Ok(expires), Some((head, body))) = (bytes.try_into().map(u64::from_be_bytes), Head::decode(record)) else {
            return Ok(Seen::Unreadable);
        };
        let left = Duration::from_micros(expires.saturating_sub(micros(now)));
        Ok(if left.is_zero() { Seen::Absent } else { Seen::Record { head, body: Some(body), left: Some(left) } })
    }
}

impl Store for DirectoryStore {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        self.seen(key, SystemTime::now())
    }

    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        let _locked = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now(); // once: between two readings, an expiry that is kept would come nearer
        let write = match put.over(self.seen(key, now)?, expect, now) {
            Ok(write) => write,
            Err(answer) => return Ok(answer),
        };
        let record = [&micros(now + write.keep).to_be_bytes()[..], &write.to_bytes()].concat();
        // A reader sees the old file or the new one.
        let (file, new) = (self.file(key), self.directory.join("new"));
        fs::write(&new, record).and_then(|()| fs::rename(&new, &file)).map_err(failed)?;
        Ok(Swapped::Done { fence: write.head.fence })
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(SystemTime::now())
    }
}

fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros().try_into().unwrap_or(u64::MAX)
}

fn failed(error: io::Error) -> StoreError {
    StoreError::Unreachable(error.into())
}
