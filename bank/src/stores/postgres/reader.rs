//! The second connection: hears what other processes free, and answers reads.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::failure::Trouble;
use super::queue::Read;
use super::reads;
use super::session::Session;
use super::take::Context;
use super::worker::OUTAGE;
use crate::core::error::{Error, Result};

const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Connects, with ears. `word`: what the connections look for a pooler with.
pub async fn connect(shared: &Arc<Shared>, word: Option<String>) -> Result<Session> {
    let hears = shared.clone();
    let heard = move |said: &str| {
        if word.as_deref() == Some(said) {
            hears.hello.notify_one();
        } else {
            hears.look();
        }
    };
    let ends = shared.clone();
    let mut session = Session::connect(&shared.target, Some(Box::new(heard))).await?;
    session.when_it_ends(move || ends.reading.notify_one());
    Ok(session)
}

/// Connects anew, and listens if that is any use here.
async fn connect_again(shared: &Arc<Shared>) -> Result<Session> {
    let mut session = connect(shared, None).await?;
    let pooled = shared.is_pooled();
    session.set_up(pooled).await?;
    if !pooled {
        let channel = shared.channel.replace('"', "\"\"");
        let listening = session.run(&format!("LISTEN \"{channel}\"")).await;
        super::worker::refused_unless(listening, shared.place())?;
    }
    // What was said while nobody listened.
    shared.look();
    Ok(session)
}

/// Answers reads until the store is closed.
pub async fn run(shared: &Arc<Shared>, session: Session) {
    let mut session = Some(session);
    let mut pause = Duration::from_millis(50);
    loop {
        if session.as_ref().is_none_or(|session| session.client.is_closed()) {
            drop(session.take());
            match connect_again(shared).await {
                Ok(made) => {
                    session = Some(made);
                    pause = Duration::from_millis(50);
                }
                Err(error) => {
                    give_up(shared, &error);
                    let _ = tokio::time::timeout(pause, stopped(shared)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        let next = {
            let mut queue = shared.queue.lock();
            if queue.stop {
                break;
            }
            if session.is_some() { queue.reads.pop_front() } else { None }
        };
        match (next, &session) {
            (Some((ticket, read)), Some(connected)) => {
                if !answer(shared, connected, ticket, read).await {
                    session = None;
                }
            }
            (_, None) => {}
            (None, Some(_)) => shared.reading.notified().await,
        }
    }
    let left = std::mem::take(&mut shared.queue.lock().reads);
    left.into_iter().for_each(|(_, read)| (read.answer)(Err(Error::Closed)));
}

async fn stopped(shared: &Shared) {
    while !shared.queue.lock().stop {
        shared.reading.notified().await;
    }
}

/// Reads that have waited for the server for too long.
fn give_up(shared: &Shared, error: &Error) {
    let late = {
        let mut queue = shared.queue.lock();
        let late = queue.reads.iter().take_while(|(_, read)| read.since.elapsed() >= OUTAGE).count();
        queue.reads.drain(..late).collect::<Vec<_>>()
    };
    late.into_iter().for_each(|(_, read)| (read.answer)(Err(error.clone())));
}

/// One read. False: the connection is lost, and the read goes again.
async fn answer(shared: &Shared, session: &Session, ticket: u64, read: Read) -> bool {
    let context = Context { clock: shared.clock_now(), seen: 0, place: shared.place().to_owned() };
    match reads::answer(session, &context, read.bank, &read.query).await {
        Ok(found) => (read.answer)(Ok(found)),
        Err(Trouble::Lost(_)) => {
            shared.queue.lock().reads.push_front((ticket, read));
            return false;
        }
        Err(trouble) => (read.answer)(reads::failed(trouble, shared.place())),
    }
    true
}
