use super::*;
use crate::notify::slack::tests_support::views;

fn zone() -> TimeZone {
    TimeZone::get("America/New_York").unwrap()
}

/// The message's words, a line each; values as they are.
fn words(message: &Message) -> Vec<String> {
    let line = |pieces: &Vec<Piece>| -> String {
        let text = |piece: &Piece| match piece {
            Piece::Word(text) | Piece::Value(text) => text.clone(),
            Piece::Strong(text) => (*text).to_owned(),
            Piece::Link { words, .. } => (*words).to_owned(),
            Piece::Mention(mention) => format!("{mention:?}"),
        };
        pieces.iter().map(text).collect()
    };
    let mut words = Vec::new();
    for part in &message.parts {
        match part {
            Part::Lines(lines) => words.extend(lines.iter().map(line)),
            Part::Sentence(sentence) => words.push(sentence.clone()),
            Part::Commands(commands) => words.extend(commands.clone()),
            Part::Small(pieces) => words.push(line(pieces)),
            Part::Buttons(_) => {}
        }
    }
    words
}

fn has(message: &Message, wanted: &str) -> bool {
    words(message).iter().any(|line| line.contains(wanted))
}

#[test]
fn who_has_it_and_what_to_type_are_said() {
    let card_of = |view: &IncidentView| card(view, &zone());
    assert!(has(&card_of(&views::waiting_for_approval()), "Nobody has it · to take it: nightshift ack 1042"));
    assert!(has(&card_of(&views::waiting_for_approval()), "nightshift approve 1042.1"));
    assert!(has(&card_of(&views::acting()), "With ana"));
    assert!(!has(&card_of(&views::acting()), "nightshift ack"));
    assert!(has(&card_of(&views::helped()), "nightshift undo 1042.1"));
    assert!(!has(&card_of(&views::resolved()), "Nobody has it"));
}

#[test]
fn times_are_in_the_peoples_zone() {
    let message = card(&views::resolved(), &zone());
    assert!(has(&message, "Since 2026-02-28 21:12:30 EST"), "{:#?}", words(&message));
    assert!(has(&message, "Resolved 2026-02-28 21:26:00 EST, after 13m30s"));
    let message = card(&views::helped(), &zone());
    assert!(has(&message, "replicas 4 → 6 until 23:30 EST, then it is put back"), "{:#?}", words(&message));
}

#[test]
fn the_verb_says_whether_it_was_done() {
    for (view, wanted) in [
        (views::firing_shadow(), "Would do replicas 4 → 6"),
        (views::waiting_for_approval(), "Wants replicas 4 → 6"),
        (views::acting(), "Doing replicas 4 → 6"),
        (views::helped(), "Did replicas 4 → 6"),
        (views::handed_over(), "Tried replicas 4 → 6"),
        (views::did_not_help_and_undone(), "✅ Put back, verified"),
    ] {
        let message = card(&view, &zone());
        assert!(has(&message, wanted), "{wanted}: {:#?}", words(&message));
    }
    // The whole of nightshift in shadow lowers a step that may act.
    let mut lowered = views::firing_shadow();
    lowered.steps[0].mode = "auto".to_owned();
    assert!(has(&card(&lowered, &zone()), "mode shadow"));
}

#[test]
fn a_crowd_is_counted_and_what_still_fires_comes_first() {
    let mut view = views::reopened();
    let one = view.alerts[0].clone();
    view.alerts = (0..20)
        .map(|number| {
            let mut alert = one.clone();
            alert.labels.insert("pod".to_owned(), format!("web-{number}"));
            alert.state = if number == 19 { "firing" } else { "resolved" }.to_owned();
            alert
        })
        .collect();
    (view.firing, view.resolved) = (3, 218);
    view.steps = vec![view.steps[0].clone(); 7];
    let message = card(&view, &zone());
    let bullets: Vec<String> = words(&message).into_iter().filter(|line| line.starts_with('•')).collect();
    assert_eq!(bullets.len(), ALERTS_LISTED);
    assert_eq!(bullets[0], "• firing since 21:11 EST pod=web-19");
    assert!(has(&message, "Firing 3 · resolved 218 cluster=eu-1 namespace=production deployment=web team=claims"));
    assert!(has(&message, "… and 216 more"));
    assert!(has(&message, "… and 4 earlier steps: nightshift incident 1042"));
}

#[test]
fn no_id_but_slacks_own_is_a_mention() {
    assert_eq!(Mention::parse("U024BE7LH"), Some(Mention::User("U024BE7LH".to_owned())));
    assert_eq!(Mention::parse("S0123ABC"), Some(Mention::Group("S0123ABC".to_owned())));
    assert_eq!(Mention::parse("G0123ABC"), Some(Mention::Channel("G0123ABC".to_owned())));
    for other in ["", "U", "USER", "ünlock", "U024BE7LH>", "U024 BE7LH", "!channel", "@here", "#ops", "X0123ABC"] {
        assert_eq!(Mention::parse(other), None, "{other}");
    }
}
