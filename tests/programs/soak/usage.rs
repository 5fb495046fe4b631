//! Measures what the process uses.

use std::fs;

use tokio::runtime::Handle;

pub(crate) struct Usage {
    pub(crate) tasks: usize,
    pub(crate) descriptors: usize,
    /// The resident memory, in bytes.
    pub(crate) memory: u64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let pages = fs::read_to_string("/proc/self/statm").expect("Linux");
        let pages: u64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("resident pages");
        Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            descriptors: fs::read_dir("/proc/self/fd").expect("Linux").count(),
            memory: pages * 4096,
        }
    }
}

/// How much the values grow in each unit of time: the slope of the line that fits best.
#[allow(clippy::cast_precision_loss)] // megabytes, not 2⁵² of them
pub(crate) fn slope(values: &[(f64, u64)]) -> f64 {
    let count = values.len() as f64;
    let mean_time = values.iter().map(|(time, _)| time).sum::<f64>() / count;
    let mean = values.iter().map(|(_, value)| *value as f64).sum::<f64>() / count;
    let products = values.iter().map(|(time, value)| (time - mean_time) * (*value as f64 - mean)).sum::<f64>();
    products / values.iter().map(|(time, _)| (time - mean_time).powi(2)).sum::<f64>()
}
