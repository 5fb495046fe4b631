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
    /// Comparing and writing must be one step.
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

    /// A file is the time when the record expires (microseconds since 1970, 8 bytes), and then the record.
    fn load(&self, key: &StoreKey) -> Result<(Seen, u64), StoreError> {
        let mut bytes = match fs::read(self.file(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Seen::Absent, 0)),
            bytes => bytes.map_err(failed)?,
        };
        let record = bytes.split_off(bytes.len().min(8));
        let (Ok(expires), Some((head, body))) = (bytes.try_into().map(u64::from_be_bytes), Head::decode(record)) else {
            return Ok((Seen::Unreadable, 0));
        };
        let left = Duration::from_micros(expires.saturating_sub(micros()));
        let seen =
            if left.is_zero() { Seen::Absent } else { Seen::Record { head, body: Some(body), left: Some(left) } };
        Ok((seen, expires))
    }
}

impl Store for DirectoryStore {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        Ok(self.load(key)?.0)
    }

    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        let _locked = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, before) = self.load(key)?;
        if put.is_late(SystemTime::now()) {
            return Ok(Swapped::Late);
        }
        if !expect.allows(&seen) {
            return Ok(Swapped::Found(seen));
        }
        let kept = if let Seen::Record { body, .. } = seen { body } else { None };
        let body = put.body.as_ref().or(kept.as_ref()).map_or(&[][..], |body| body);
        let mut head = put.head.clone();
        head.raise_fence(micros());
        let expires = if put.keep_expiry { before } else { micros() + head.kept_millis() * 1000 };
        let record = [&expires.to_be_bytes()[..], &head.encode(!body.is_empty()), body].concat();
        let (file, new) = (self.file(key), self.directory.join("new"));
        // A reader sees the old file or the new one.
        fs::write(&new, record).and_then(|()| fs::rename(&new, &file)).map_err(failed)?;
        Ok(Swapped::Done { fence: head.fence })
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(SystemTime::now())
    }
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros().try_into().unwrap_or(u64::MAX)
}

fn failed(error: io::Error) -> StoreError {
    StoreError::Unreachable(error.into())
}
