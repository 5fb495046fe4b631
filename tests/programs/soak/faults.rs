//! Causes one fault after another, and repairs each a moment later.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{task::JoinHandle, time::sleep};

use support::{proxy::Proxy, redis_server::RedisServer};

/// How long a fault lasts, and the pause after it. Both are much shorter than a lease, so no running attempt loses its
/// claim.
const FAULT: Duration = Duration::from_millis(800);
const CALM: Duration = Duration::from_millis(1_700);

pub(crate) struct Faults {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, RedisServer, Proxy)>,
}

impl Faults {
    pub(crate) fn start(mut server: RedisServer, proxy: Proxy) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let told = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut injected = 0;
            while !told.load(SeqCst) {
                inject(injected, &mut server, &proxy).await;
                injected += 1;
                sleep(CALM).await;
            }
            (injected, server, proxy)
        });
        Self { stop, task }
    }

    /// Stops when everything is repaired. Returns the number of faults, and the servers, which the store still uses.
    pub(crate) async fn stop(self) -> (usize, RedisServer, Proxy) {
        self.stop.store(true, SeqCst);
        self.task.await.expect("faults go on to the end")
    }
}

async fn inject(number: usize, server: &mut RedisServer, proxy: &Proxy) {
    match number % 9 {
        0 => {
            server.kill();
            sleep(FAULT).await;
            tokio::task::block_in_place(|| server.restart());
        }
        1 => {
            server.freeze();
            sleep(FAULT).await;
            server.thaw();
        }
        2 => {
            proxy.go_silent();
            sleep(FAULT).await;
            proxy.pass();
        }
        3 => {
            proxy.refuse();
            sleep(FAULT).await;
            proxy.pass();
        }
        4 => {
            for _ in 0..8 {
                proxy.cut_next_answer();
                sleep(FAULT / 8).await;
            }
            proxy.pass();
        }
        5 => {
            proxy.delay(Duration::from_millis(100));
            sleep(FAULT).await;
            proxy.pass();
        }
        6 => {
            server.set(&["CONFIG", "SET", "maxmemory", "1"]);
            sleep(FAULT).await;
            server.set(&["CONFIG", "SET", "maxmemory", "0"]);
        }
        7 => {
            server.set(&["SCRIPT", "FLUSH"]);
            server.set(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        _ => server.set(&["CLIENT", "PAUSE", "700", "WRITE"]),
    }
}
