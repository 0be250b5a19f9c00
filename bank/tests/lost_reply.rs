//! A death between the commit and the answer: a child is killed after its n-th sync, for every n, and another one makes the
//! same calls again. What was answered before is answered the same, and nothing is given twice or lost.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // helpers of tests are tests, too

mod common;
#[path = "common/vfs.rs"]
mod vfs;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::Ordering;

use common::*;
use opool_bank::core::model::*;
use opool_bank::stores::sqlite::Options;

/// All calls, each under a claim id of its own; prints each answer.
fn calls(path: &std::path::Path, syncs: i64) {
    vfs::register();
    let bank = open(path, &Options { vfs: Some("recording".into()), ..Options::default() });
    vfs::SYNCS_LEFT.store(syncs, Ordering::SeqCst);
    let say = |what: &str, answer: String| println!("answer {what}: {answer}");
    put(&bank, &["a", "b", "c", "d", "e"]).unwrap();
    say("claim", format!("{:?}", key_of(&bank.take(claim("alice")).unwrap())));
    let long = |id: &str| Take { term: Term::Lease { ttl: NEVER, bound: false }, ..claim(id) };
    for id in ["done", "release", "reject", "extend"] {
        // Settled under the token that the first one saw: a repeat of the lease would take another item.
        let known = bank.read(Query::Of(text(id))).unwrap().rows.pop();
        let settled = bank.read(Query::Get(text(id))).unwrap().rows.pop();
        let (key, token) = match (known, settled) {
            (Some(row), _) => (row.key, row.token),
            (None, Some(marker)) => {
                let Payload::Text(memo) = &marker.payload else { panic!("a text") };
                let (key, token) = memo.split_once(' ').unwrap();
                (text(key), token.parse().unwrap())
            }
            (None, None) => {
                let held = bank.take(long(id)).unwrap().held.remove(0);
                (held.row.key, held.row.token)
            }
        };
        let memo = Payload::Text(format!("{} {token}", if let Value::Text(key) = &key { key } else { "" }));
        let marker = New { payload: memo, priority: 9, ..new(id) };
        bank.put(Put { items: vec![marker], keep: true }).unwrap();
        let call = match id {
            "done" => done("r"),
            "release" => RELEASE,
            "reject" => Call::Reject { reason: Payload::None, delay: 0 },
            _ => Call::Extend { ttl: NEVER },
        };
        let answer = bank.settle_one(Settle { key: key.clone(), token, call, force: false });
        say(id, format!("{key} {token} {:?}", answer.map(|settled| settled.yes)));
        if id == "release" || id == "reject" {
            // Somebody else takes it: a repeat of the call above then finds another token on the row.
            let pick = Pick::Key { key, create: None, same_payload: false };
            let next = bank.take(Take { pick, ..long(&format!("after {id}")) }).unwrap();
            say(&format!("after {id}"), format!("{:?}", key_of(&next)));
        }
    }
    say("verify", format!("{:?}", bank.read(Query::Verify).unwrap().faults));
}

fn run(path: &std::path::Path, syncs: i64) -> (BTreeMap<String, String>, bool) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("OPOOL_BANK_CHILD", path)
        .env("OPOOL_BANK_SYNCS", syncs.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    let answers = text
        .lines()
        .filter_map(|line| line.split_once("answer ")?.1.split_once(": "))
        .map(|(what, answer)| (what.to_owned(), answer.to_owned()))
        .collect();
    (answers, child.status.success())
}

/// Not a test of its own: what the children run.
#[test]
fn child() {
    if let Some(path) = std::env::var_os("OPOOL_BANK_CHILD") {
        let syncs = std::env::var("OPOOL_BANK_SYNCS").unwrap().parse().unwrap();
        calls(std::path::Path::new(&path), syncs);
    }
}

#[test]
fn a_call_whose_answer_was_lost_is_made_again_and_answers_the_same() {
    let mut deaths = 0;
    for syncs in 1..200 {
        let folder = Folder::new();
        let (first, ended) = run(&folder.file(), syncs);
        let (second, well) = run(&folder.file(), -1);
        assert!(well, "after a death at sync {syncs}: {second:?}");
        for (what, answer) in &first {
            if what != "verify" {
                assert_eq!(second.get(what), Some(answer), "{what}, after a death at sync {syncs}");
            }
        }
        assert_eq!(second["verify"], "[]");
        assert!(second["claim"].contains("\"a\""));
        for call in ["done", "release", "reject", "extend"] {
            assert!(second[call].ends_with("Ok(true)"), "{call}: {}, after a death at sync {syncs}", second[call]);
        }
        if ended {
            break;
        }
        deaths += 1;
    }
    assert!((8..150).contains(&deaths), "{deaths}");
}
