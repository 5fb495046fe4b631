//! Carries the data between one client and its server.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

use super::{
    commits::{lose, loss_of},
    mode::Mode,
};

/// Runs until either side ends the connection, or the mode breaks it.
pub(super) async fn carry(mut client: TcpStream, server: SocketAddr, mode: watch::Sender<Mode>, cut: Arc<AtomicUsize>) {
    let mut modes = mode.subscribe();
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut request, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    // The stream lacks the bytes that were swallowed. So a connection that was silent once stays silent.
    let mut dead = false;
    let holds = |mode| matches!(mode, Mode::Hold | Mode::HoldAfter(_));
    let is_new = holds(*modes.borrow_and_update());
    let mut held = None;
    loop {
        dead |= *modes.borrow() == Mode::Silent;
        if *modes.borrow() == Mode::Hold && !is_new {
            held.get_or_insert_with(Vec::new);
        }
        if let Some(requests) = held.as_mut() {
            hold(&mut client, &mut modes, requests).await;
            if server.write_all(requests).await.is_err() {
                return;
            }
            held = None;
            continue;
        }
        if *modes.borrow() == Mode::Refuse {
            return;
        }
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            read = client.read(&mut request) => match read {
                Ok(length @ 1..) => {
                    let sent = &request[..length];
                    if *modes.borrow() == Mode::Hold && !is_new {
                        held = Some(sent.to_vec());
                        continue;
                    }
                    if let Some(loss) = loss_of(sent, &mode) {
                        lose(loss, client, server, sent).await;
                        return;
                    }
                    if !dead && *modes.borrow() != Mode::Silent && server.write_all(sent).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut answer) => match read {
                Ok(length @ 1..) => {
                    let now = *modes.borrow();
                    match now {
                        _ if dead => {}
                        Mode::Silent => dead = true,
                        Mode::NoAnswers => continue,
                        Mode::Refuse => return,
                        Mode::CutAfter(_) => {
                            let mut this_one = false;
                            mode.send_modify(|mode| match mode {
                                Mode::CutAfter(0) => (this_one, *mode) = (true, Mode::Pass),
                                Mode::CutAfter(passing) => *passing -= 1,
                                // Another connection's answer was cut off in the meantime.
                                _ => {}
                            });
                            if this_one {
                                cut.fetch_add(1, SeqCst);
                                return;
                            }
                        }
                        Mode::Late(by) => tokio::time::sleep(by).await,
                        Mode::HoldAfter(answers) if !is_new => {
                            mode.send_replace(if answers > 1 { Mode::HoldAfter(answers - 1) } else { Mode::Hold });
                        }
                        Mode::Pass | Mode::Hold | Mode::HoldAfter(_) | Mode::LoseCommit(_) => {}
                    }
                    if !dead && client.write_all(&answer[..length]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

/// Collects what the client sends until the proxy lets it pass.
async fn hold(client: &mut TcpStream, modes: &mut watch::Receiver<Mode>, requests: &mut Vec<u8>) {
    let mut request = vec![0; 64 << 10];
    let mut is_gone = false;
    while *modes.borrow_and_update() == Mode::Hold {
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            read = client.read(&mut request), if !is_gone => match read {
                Ok(length @ 1..) => requests.extend_from_slice(&request[..length]),
                _ => is_gone = true,
            },
        }
    }
}
