//! The rules files that the measurements use.

/// Every alert opens an incident of its own: the most that deciding an alert without a remediation does.
pub const INCIDENT_PER_ALERT: &str = "
rules:
  - name: everything
    match: []
    group_by: [alertname, pod]
";

/// As the starter file's last rule: alerts of one name are one incident.
pub const INCIDENT_PER_NAME: &str = "
rules:
  - name: everything
    match: []
    group_by: [alertname]
";

/// 999 rules that do not match, in the shapes that people write, before the one of [`INCIDENT_PER_ALERT`].
pub fn thousand() -> String {
    let mut text = String::from("rules:\n");
    for number in 0..999 {
        let second = match number % 3 {
            0 => "'namespace = \"production\"'",
            1 => "'severity =~ \"warning|critical\"'",
            _ => "'team != \"search\"'",
        };
        text.push_str(&format!("  - name: rule-{number}\n    match: ['alertname = \"Alert{number}\"', {second}]\n"));
    }
    text.push_str(INCIDENT_PER_ALERT.trim_start().trim_start_matches("rules:\n"));
    text
}
