//! The ways in which a COMMIT to a PostgreSQL can be lost.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::sleep,
};

use super::mode::{LATE, Loss, Mode};

/// Decides what happens to this message, if it is a COMMIT and one is to be lost. The next COMMIT passes.
pub(super) fn loss_of(sent: &[u8], mode: &watch::Sender<Mode>) -> Option<Loss> {
    // Compares the whole message, because `READ COMMITTED` is no COMMIT.
    if !sent.ends_with(b"Q\0\0\0\x0bCOMMIT\0") {
        return None;
    }
    let mut loss = None;
    mode.send_if_modified(|mode| {
        let Mode::LoseCommit(asked) = *mode else { return false };
        (loss, *mode) = (Some(asked), Mode::Pass);
        true
    });
    loss
}

/// Breaks the connection, before or after the server has received the COMMIT.
pub(super) async fn lose(loss: Loss, client: TcpStream, mut server: TcpStream, commit: &[u8]) {
    match loss {
        Loss::AnswerLost => {
            deliver(&mut server, commit).await;
            drop(client);
        }
        Loss::ArrivesLate => {
            drop(client);
            sleep(LATE).await;
            deliver(&mut server, commit).await;
        }
        Loss::NeverArrives => {}
        Loss::NeverArrivesAndStaysOpen => {
            drop(client);
            sleep(LATE).await;
        }
    }
}

async fn deliver(server: &mut TcpStream, commit: &[u8]) {
    server.write_all(commit).await.expect("the server is there");
    // The server answers when it has finished.
    let _ = server.read(&mut [0; 1024]).await;
}
