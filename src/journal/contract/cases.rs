//! The contract, case by case.

use super::{GENESIS, Handle, filled, rows, rows_after};
use crate::journal::{
    AppendError, Extent, Lead, PAGE_ROWS, Snapshot,
    chain::{self, digest},
    export::{export, read_export, verify},
};

pub(super) async fn an_empty_journal_begins_at_genesis(journal: Handle) {
    assert_eq!(journal.head().await.unwrap(), GENESIS);
    assert_eq!(journal.extent().await.unwrap(), None);
    assert_eq!(journal.rows(0, 10).await.unwrap(), []);
    assert_eq!(journal.row(1).await.unwrap(), None);
    assert_eq!(journal.append(&[], &[]).await, Ok(()));
    assert!(verify(journal.as_ref(), None).await.unwrap().is_whole());
}

pub(super) async fn what_was_appended_is_read_back(journal: Handle) {
    let written = filled(journal.as_ref(), 5).await;
    assert_eq!(journal.rows(1, 100).await.unwrap(), written);
    assert_eq!(journal.rows(3, 2).await.unwrap(), written[2..4]);
    assert_eq!(journal.row(4).await.unwrap().as_ref(), Some(&written[3]));
    assert_eq!(journal.head().await.unwrap(), written[4].head());
    assert_eq!(journal.extent().await.unwrap().map(|extent| extent.count()), Some(5));
    let report = verify(journal.as_ref(), None).await.unwrap();
    assert!(report.is_whole());
    assert_eq!((report.entries, report.anchor, report.head), (5, GENESIS, written[4].head()));
}

pub(super) async fn a_taken_seq_clashes_and_nothing_of_the_batch_goes_in(journal: Handle) {
    let written = filled(journal.as_ref(), 5).await;
    let id = journal.push_inbox(1, "kept").await.unwrap();
    // Another leader's rows: 5 is taken, 6 and 7 are not.
    let other = rows_after(written[2].hash, 5, 3);
    assert_eq!(journal.append(&other, &[id]).await, Err(AppendError::Clash));
    assert_eq!(journal.append(&[other[1].clone(), other[0].clone()], &[id]).await, Err(AppendError::Clash));
    assert_eq!(journal.rows(1, 100).await.unwrap(), written);
    assert_eq!(journal.inbox(10).await.unwrap().len(), 1);
    // And the journal goes on.
    journal.append(&rows_after(written[4].hash, 6, 1), &[id]).await.unwrap();
    assert_eq!(journal.inbox(10).await.unwrap(), []);
}

pub(super) async fn a_retry_after_a_lost_answer_is_told_by_the_hash(journal: Handle) {
    let written = filled(journal.as_ref(), 3).await;
    assert_eq!(journal.append(&written[1..], &[]).await, Err(AppendError::Clash));
    assert_eq!(journal.row(2).await.unwrap().map(|row| row.hash), Some(written[1].hash));
    assert_eq!(journal.head().await.unwrap(), written[2].head());
}

pub(super) async fn an_append_removes_exactly_the_inbox_items_it_names(journal: Handle) {
    let mut ids = Vec::new();
    for body in ["one", "two", "three", "four"] {
        ids.push(journal.push_inbox(7, body).await.unwrap());
    }
    journal.append(&rows(1), &[ids[3], ids[0], 999_999]).await.unwrap();
    let left = journal.inbox(10).await.unwrap();
    assert_eq!(
        left.iter().map(|item| (item.id, item.at, item.body.as_str())).collect::<Vec<_>>(),
        [(ids[1], 7, "two"), (ids[2], 7, "three")]
    );
    // The id of the last one removed is not given out again.
    assert!(journal.push_inbox(8, "five").await.unwrap() > ids[3]);
    assert_eq!(journal.inbox(1).await.unwrap().len(), 1);
    journal.append(&[], &[ids[1]]).await.unwrap();
    assert_eq!(journal.inbox(10).await.unwrap().first().map(|item| item.id), Some(ids[2]));
    assert_eq!(journal.extent().await.unwrap(), Some(Extent { oldest: 1, newest: 1 }));
}

pub(super) async fn a_large_batch_goes_in_whole(journal: Handle) {
    // More than one statement can take.
    let written = filled(journal.as_ref(), 5_000).await;
    assert_eq!(journal.head().await.unwrap(), written[4_999].head());
    assert_eq!(verify(journal.as_ref(), None).await.unwrap().entries, 5_000);
    // One seq of the last piece is taken: the first piece doesn't go in either.
    let mut wrong = rows_after(written[4_999].hash, 5_001, 4_800);
    wrong[4_799].seq = 17;
    assert_eq!(journal.append(&wrong, &[]).await, Err(AppendError::Clash));
    assert_eq!(journal.head().await.unwrap(), written[4_999].head());
}

pub(super) async fn pages_are_bounded(journal: Handle) {
    filled(journal.as_ref(), PAGE_ROWS + 10).await;
    assert_eq!(journal.rows(1, u64::MAX).await.unwrap().len() as u64, PAGE_ROWS);
    assert_eq!(journal.rows(PAGE_ROWS + 1, PAGE_ROWS).await.unwrap().len(), 10);
    assert_eq!(journal.rows(1, 0).await.unwrap(), []);
}

pub(super) async fn one_incident_is_read_by_itself(journal: Handle) {
    filled(journal.as_ref(), 9).await;
    let seqs = |rows: Vec<crate::journal::Row>| rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    assert_eq!(seqs(journal.rows_of_incident(1042, 1, 100).await.unwrap()), [2, 4, 6, 8]);
    assert_eq!(seqs(journal.rows_of_incident(1042, 5, 1).await.unwrap()), [6]);
    assert_eq!(seqs(journal.rows_of_incident(7, 1, 100).await.unwrap()), [0; 0]);
}

pub(super) async fn policies_are_kept_once(journal: Handle) {
    let hash = digest(b"policy");
    journal.put_policy(hash, "first").await.unwrap();
    journal.put_policy(hash, "second").await.unwrap();
    assert_eq!(journal.policy(hash).await.unwrap().as_deref(), Some("first"));
    assert_eq!(journal.policy(digest(b"other")).await.unwrap(), None);
}

pub(super) async fn the_latest_snapshot_of_a_version_is_given(journal: Handle) {
    let written = filled(journal.as_ref(), 9).await;
    let snapshots = [(3, 1), (5, 1), (7, 2)].map(|(seq, version)| {
        Snapshot::sealed(written[seq - 1].head(), version, vec![u8::try_from(seq).unwrap(); 100_000])
    });
    for snapshot in &snapshots {
        journal.put_snapshot(snapshot).await.unwrap();
    }
    assert_eq!(journal.latest_snapshot(1).await.unwrap().as_ref(), Some(&snapshots[1]));
    assert_eq!(journal.latest_snapshot(2).await.unwrap().as_ref(), Some(&snapshots[2]));
    assert_eq!(journal.latest_snapshot(3).await.unwrap(), None);
    assert_eq!(journal.snapshots().await.unwrap(), [3, 5, 7]);
    assert_eq!(verify(journal.as_ref(), None).await.unwrap().snapshots, 3);
    assert!(journal.drop_snapshot(5).await.unwrap());
    assert!(!journal.drop_snapshot(5).await.unwrap());
    assert_eq!(journal.latest_snapshot(1).await.unwrap().as_ref(), Some(&snapshots[0]));
    assert_eq!(journal.head().await.unwrap(), written[8].head());
}

pub(super) async fn evidence_is_kept_until_its_time(journal: Handle) {
    let (short, long) = (b"log lines".as_slice(), [0_u8, 255, 10].as_slice());
    journal.put_evidence(digest(short), short, 100).await.unwrap();
    journal.put_evidence(digest(long), long, 100).await.unwrap();
    journal.put_evidence(digest(long), long, 200).await.unwrap();
    journal.put_evidence(digest(long), long, 50).await.unwrap();
    assert_eq!(journal.prune_evidence(99).await.unwrap(), 0);
    assert_eq!(journal.prune_evidence(100).await.unwrap(), 1);
    assert_eq!(journal.evidence(digest(short)).await.unwrap(), None);
    assert_eq!(journal.evidence(digest(long)).await.unwrap().as_deref(), Some(long));
    journal.put_evidence(digest(b"said"), b"kept", 100).await.unwrap();
    assert_eq!(journal.evidence(digest(b"said")).await.map_err(|error| error.reason()), Err("damaged"));
}

pub(super) async fn a_second_leader_is_refused_until_the_first_is_gone(journal: Handle) {
    assert_eq!(journal.take_lead("one", 1_000, 2_000).await.unwrap(), Lead::Taken { epoch: 1 });
    let held = Lead::Held { by: "one".to_owned(), until: 2_000 };
    assert_eq!(journal.take_lead("two", 1_500, 2_500).await.unwrap(), held);
    assert!(journal.renew_lead("one", 1, 3_000).await.unwrap());
    assert!(!journal.renew_lead("two", 1, 9_000).await.unwrap());
    let held = Lead::Held { by: "one".to_owned(), until: 3_000 };
    assert_eq!(journal.take_lead("two", 2_999, 4_000).await.unwrap(), held);
    // Run out.
    assert_eq!(journal.take_lead("two", 3_000, 4_000).await.unwrap(), Lead::Taken { epoch: 2 });
    assert!(!journal.renew_lead("one", 1, 9_000).await.unwrap());
    // Given back by the one who no longer has it: nothing happens.
    journal.release_lead("one", 1).await.unwrap();
    assert!(matches!(journal.take_lead("one", 3_500, 9_000).await.unwrap(), Lead::Held { .. }));
    // Given back by the one who has it.
    journal.release_lead("two", 2).await.unwrap();
    assert_eq!(journal.take_lead("one", 3_500, 9_000).await.unwrap(), Lead::Taken { epoch: 3 });
    // The same instance after a kill need not wait, and its former self has lost it.
    assert_eq!(journal.take_lead("one", 3_600, 9_000).await.unwrap(), Lead::Taken { epoch: 4 });
    assert!(!journal.renew_lead("one", 3, 9_000).await.unwrap());
}

pub(super) async fn epochs_only_grow(journal: Handle) {
    // The entries are of epoch 3, the leader row was lost with an older backup.
    filled(journal.as_ref(), 2).await;
    assert_eq!(journal.take_lead("one", 1_000, 2_000).await.unwrap(), Lead::Taken { epoch: 4 });
    assert_eq!(journal.take_lead("two", 2_000, 3_000).await.unwrap(), Lead::Taken { epoch: 5 });
}

pub(super) async fn pruning_keeps_the_chain_whole(journal: Handle) {
    let written = filled(journal.as_ref(), 2_500).await;
    for seq in [100, 2_200, 2_400] {
        journal.put_snapshot(&Snapshot::sealed(written[seq - 1].head(), 1, b"state".to_vec())).await.unwrap();
    }
    assert_eq!(journal.prune(99).await.unwrap(), 0);
    assert_eq!(journal.prune(2_399).await.unwrap(), 2_200);
    assert_eq!(journal.prune(2_399).await.unwrap(), 0);
    assert_eq!(journal.extent().await.unwrap(), Some(Extent { oldest: 2_201, newest: 2_500 }));
    assert_eq!(journal.snapshots().await.unwrap(), [2_200, 2_400]);
    assert!(!journal.drop_snapshot(2_200).await.unwrap(), "it anchors what is left");
    let report = verify(journal.as_ref(), None).await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.anchor, report.entries, report.leftovers), (written[2_199].head(), 300, 0));
    journal.append(&rows_after(written[2_499].hash, 2_501, 1), &[]).await.unwrap();
    assert!(verify(journal.as_ref(), None).await.unwrap().is_whole());
}

pub(super) async fn pruning_everything_keeps_the_head(journal: Handle) {
    let written = filled(journal.as_ref(), 10).await;
    journal.put_snapshot(&Snapshot::sealed(written[9].head(), 1, b"state".to_vec())).await.unwrap();
    assert_eq!(journal.prune(u64::MAX).await.unwrap(), 10);
    assert_eq!(journal.extent().await.unwrap(), None);
    assert_eq!(journal.head().await.unwrap(), written[9].head());
    assert!(!journal.drop_snapshot(10).await.unwrap(), "it is all there is");
    assert!(verify(journal.as_ref(), None).await.unwrap().is_whole());
    journal.append(&rows_after(written[9].hash, 11, 2), &[]).await.unwrap();
    let report = verify(journal.as_ref(), None).await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.anchor, report.entries), (written[9].head(), 2));
}

pub(super) async fn an_export_verifies_elsewhere(journal: Handle) {
    let written = filled(journal.as_ref(), 1_200).await;
    let mut text = Vec::new();
    assert_eq!(export(journal.as_ref(), &mut text).await.unwrap(), written[1_199].head());
    let (anchor, rows) = read_export(text.as_slice()).unwrap();
    assert_eq!(rows, written);
    assert_eq!(chain::verify(&rows, anchor), Ok(written[1_199].head()));

    journal.put_snapshot(&Snapshot::sealed(written[999].head(), 1, Vec::new())).await.unwrap();
    journal.prune(1_000).await.unwrap();
    let mut text = Vec::new();
    export(journal.as_ref(), &mut text).await.unwrap();
    let (anchor, mut rows) = read_export(text.as_slice()).unwrap();
    assert_eq!((anchor, rows.len()), (written[999].head(), 200));
    assert_eq!(chain::verify(&rows, anchor), Ok(written[1_199].head()));
    rows[7].body.push(' ');
    assert_eq!(chain::verify(&rows, anchor).map_err(|damage| damage.seq), Err(1_008));
}

pub(super) async fn concurrent_writers_never_share_a_seq(journal: Handle) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4_u64 {
        let journal = Handle::clone(&journal);
        writers.spawn(async move {
            let mut won = 0;
            for _ in 0..50 {
                let head = journal.head().await.unwrap();
                let mut row = rows_after(head.hash, head.seq + 1, 1).remove(0);
                row.epoch = writer;
                row.hash = row.seal(&head.hash);
                match journal.append(&[row], &[]).await {
                    Ok(()) => won += 1,
                    Err(AppendError::Clash) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            won
        });
    }
    let won: u64 = writers.join_all().await.into_iter().sum();
    let report = verify(journal.as_ref(), None).await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.entries, report.head.seq), (won, won));
    assert!(won >= 50, "{won}");
}
