//! Golden messages (`fixtures/slack`), Slack's limits and the inertness of anybody's words, both judged by a reader
//! that shares no code with the renderer.

use super::*;
use crate::{
    http::signature::SigningKeys,
    model::{id::IncidentId, letter::Note, time::Micros, view::IncidentView},
    notify::{
        message,
        slack::tests_support::{corpus::corpus, judge, views},
    },
};
use jiff::tz::TimeZone;
use proptest::prelude::*;

fn zone() -> TimeZone {
    TimeZone::get("Europe/Paris").unwrap()
}

fn card(view: &IncidentView) -> Rendered {
    render(&message::card(view, &zone()), Some(&seal()))
}

fn following(view: &IncidentView) -> Rendered {
    render(&message::following(view, &zone()), Some(&seal()))
}

fn note(text: &str, mentions: &[&str]) -> Note {
    let mentions: Vec<String> = mentions.iter().map(|id| (*id).to_owned()).collect();
    Note {
        at: Micros::parse("2026-03-01T02:14:00Z").unwrap(),
        text: text.to_owned(),
        page: !mentions.is_empty(),
        mentions,
        takes: false,
    }
}

fn post(view: &IncidentView, note: &Note) -> Rendered {
    render(&message::post(view, note, &zone()), Some(&seal()))
}

fn golden(name: &str, rendered: &Rendered) {
    judge::limits(rendered).unwrap();
    judge::inert(rendered).unwrap();
    let shown = serde_json::json!({"text": rendered.text, "blocks": rendered.blocks});
    insta::with_settings!({
        snapshot_path => "../../../fixtures/slack", prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_json_snapshot!(name, shown); });
}

#[test]
fn each_state_of_an_incident_reads_at_a_glance() {
    golden("firing-shadow", &card(&views::firing_shadow()));
    golden("waiting-for-approval", &card(&views::waiting_for_approval()));
    golden("acting", &card(&views::acting()));
    golden("held", &card(&views::held()));
    golden("helped", &card(&views::helped()));
    golden("did-not-help-and-undone", &card(&views::did_not_help_and_undone()));
    golden("handed-over", &card(&views::handed_over()));
    golden("monitoring", &card(&views::monitoring()));
    golden("resolved", &card(&views::resolved()));
    golden("reopened", &card(&views::reopened()));
    golden("lost-contact", &card(&views::lost_contact()));
    golden("with-children", &card(&views::with_children()));
    golden("with-a-channel", &card(&views::followed()));
}

#[test]
fn who_follows_an_incident_reads_what_it_means_and_when_the_next_word_comes() {
    golden("followed", &following(&views::followed()));
    golden("followed-to-the-end", &following(&views::resolved()));
}

#[test]
fn a_post_and_a_page_read_at_a_glance() {
    let view = views::handed_over();
    golden("post", &post(&view, &note("Step 1042.1 started on production/Deployment/web: replicas 4 → 6.", &[])));
    let page =
        note("Page: its outcome is unknown: no answer in time. This needs a person.", &["S0123ABC", "U024BE7LH"]);
    golden("page", &post(&view, &page));
    let mut itself = views::handed_over();
    itself.id = IncidentId::ITSELF;
    golden(
        "itself",
        &post(&itself, &note("ana paused nightshift: deploy at 4. Nothing acts until somebody resumes it.", &[])),
    );
}

#[test]
fn a_page_mentions_configured_ids_and_nothing_else() {
    let odd =
        ["U024BE7LH", "W024BE7LH", "S0123ABC", "C0123ABC", "@here", "<!channel>", "platform-team", "U1", "u024be7lh"];
    let page = post(&views::handed_over(), &note("Page.", &odd));
    let section = page.blocks.iter().find(|block| block["text"]["type"] == "mrkdwn").unwrap();
    assert_eq!(
        section["text"]["text"],
        "<@U024BE7LH> <@W024BE7LH> <!subteam^S0123ABC> <#C0123ABC> `@here` `&lt;!channel&gt;` `platform-team` `U1` \
         `u024be7lh`"
    );
    assert!(page.text.starts_with("<@U024BE7LH> <@W024BE7LH> <!subteam^S0123ABC>"), "a lock screen shows it too");
    judge::inert(&page).unwrap();
}

#[test]
fn only_web_addresses_become_links() {
    let mut view = views::acting();
    for url in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://good.example@evil.example/",
        "https://",
        "x",
        "slack://open",
        "https://a.example/\u{7}",
    ] {
        view.runbook = Some(url.to_owned());
        view.alerts.iter_mut().for_each(|alert| alert.url = url.to_owned());
        let small = card(&view).blocks.pop().unwrap().to_string();
        assert!(!small.contains("Runbook") && !small.contains("Dashboard"), "{url}: {small}");
    }
    view.runbook = Some("https://a.example/x>|y`<z?a=1&b=2#é".to_owned());
    let small = card(&view).blocks.pop().unwrap();
    let link = "<https://a.example/x%3E%7Cy%60%3Cz?a=1&amp;b=2#%C3%A9|Runbook>";
    assert!(small["elements"][0]["text"].as_str().unwrap().contains(link), "{small}");
}

#[test]
fn nothing_from_a_label_is_ever_active() {
    for text in corpus() {
        for view in [views::everywhere(&text, 1, 1), views::everywhere(&text, 20, 12)] {
            for rendered in [
                card(&view),
                following(&view),
                post(&view, &note(&text, &[])),
                post(&view, &note(&text, &["U024BE7LH", &text])),
            ] {
                let start: String = text.chars().take(40).collect();
                judge::limits(&rendered).unwrap_or_else(|wrong| panic!("{start:?}: {wrong}"));
                judge::inert(&rendered).unwrap_or_else(|wrong| panic!("{start:?}: {wrong}"));
            }
        }
    }
}

#[test]
fn the_judge_sees_what_is_active() {
    let said = |text: &str| Rendered {
        text: "x".into(),
        blocks: vec![
            serde_json::json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}}),
        ],
    };
    for active in [
        "<!channel>",
        "a <@U0EVIL00> b",
        "*bold*",
        "_it_",
        "~x~",
        "<https://evil.example|x>",
        "see https://evil.example",
        ":fire:",
        "a & b",
        "`a",
        "`<!here>`",
        "@here",
        "&gt; quote",
        "a\u{202e}b",
    ] {
        assert!(judge::inert(&said(active)).is_err(), "{active}");
    }
    for quiet in
        ["*Step* `a*b_c~d`", "`&lt;!channel&gt;`", "<@U024BE7LH> hello", "<https://runbooks.example/x|Runbook>"]
    {
        judge::inert(&said(quiet)).unwrap_or_else(|wrong| panic!("{quiet}: {wrong}"));
    }
    assert!(judge::limits(&said(&"x".repeat(3001))).is_err());
    assert!(judge::limits(&Rendered { text: "x".repeat(4001), ..said("x") }).is_err());
}

/// One letter, up to 900 times.
fn runs() -> impl Strategy<Value = String> {
    (proptest::sample::select(vec!["a", "<", "&", "`", "𝔣"]), 0_usize..900)
        .prop_map(|(letter, times)| letter.repeat(times))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_view_is_inert_and_within_slacks_limits(
        text in prop_oneof![any::<String>(), "[<>&`*_~@!#|: a-z\\n\u{200b}\u{202e}]{0,400}", "(<![a-z]{1,9}>|&[a-z]{2};|`{1,3}|[*_~]){0,600}"],
        alerts in 0_usize..25, steps in 0_usize..30, mentions in 0_usize..90,
    ) {
        let view = views::everywhere(&text, alerts, steps);
        let ids = vec!["S0123ABC"; mentions];
        for rendered in [card(&view), following(&view), post(&view, &note(&text, &[])), post(&view, &note(&text, &ids))] {
            prop_assert_eq!(judge::limits(&rendered), Ok(()));
            prop_assert_eq!(judge::inert(&rendered), Ok(()));
        }
        prop_assert_eq!(card(&view), card(&view), "the same view gives the same message");
    }

    #[test]
    fn any_message_stays_within_slacks_limits(
        lines in proptest::collection::vec(proptest::collection::vec(runs(), 0..12), 0..70),
    ) {
        let parts = lines.iter().enumerate().map(|(at, values)| match at % 4 {
            _ if at % 9 == 8 => Part::Lines(vec![vec![Piece::Value("a\n<!channel>\u{202e}\u{0}*b*".to_owned())]]),
            0 => Part::Lines(values.iter().map(|text| vec![Piece::Value(text.clone())]).collect()),
            1 => Part::Sentence(values.concat()),
            2 => Part::Commands(values.clone()),
            _ => Part::Small(values.iter().map(|text| Piece::Value(text.clone())).collect()),
        });
        let summary = lines.iter().flatten().map(|text| Piece::Value(text.clone())).collect();
        let message = Message { headline: lines.concat().concat(), summary, parts: parts.collect() };
        let rendered = render(&message, None);
        prop_assert_eq!(judge::limits(&rendered), Ok(()));
        prop_assert_eq!(judge::inert(&rendered), Ok(()));
        if rendered.blocks.len() < lines.iter().filter(|values| values.iter().any(|text| !text.is_empty())).count() {
            prop_assert!(rendered.blocks.last().unwrap().to_string().contains("are not shown here"));
        }
    }
}

fn seal() -> Seal {
    Seal::new(SigningKeys::new(&["s3cret".into()]))
}
