//! A blue-green target taken apart: its Service, its two colours, and which of them a selector means.

use crate::{
    action::kubernetes::workload::{Itself, Named},
    model::target::{Kind, Object},
};
use std::collections::BTreeMap;

/// What stands for the colour in names and addresses.
pub const COLOR: &str = "{color}";

#[derive(Debug, Clone, Copy)]
pub struct Colours<'a> {
    pub namespace: &'a str,
    pub service: &'a str,
    key: &'a str,
    colors: &'a [String; 2],
    deployment: &'a str,
}

impl<'a> Colours<'a> {
    pub fn of(object: &'a Object) -> Result<Colours<'a>, String> {
        match object {
            Object::BlueGreen { namespace, service, selector, colors, deployment } => {
                Ok(Colours { namespace, service, key: selector, colors, deployment })
            }
            Object::Workload { .. } | Object::Database { .. } | Object::Nothing => {
                Err("the target is no Service with `blue_green`".to_owned())
            }
        }
    }

    /// `Service production/web`.
    pub fn words(&self) -> String {
        format!("Service {}/{}", self.namespace, self.service)
    }

    /// Of the colour's Deployment.
    pub fn deployment(&self, color: &str) -> String {
        self.deployment.replace(COLOR, color)
    }

    pub fn named<'n>(&self, deployment: &'n str) -> Named<'n>
    where
        'a: 'n,
    {
        Named { namespace: self.namespace, kind: Kind::Deployment, name: deployment, selector: None }
    }

    /// A colour of it is nightshift's own Deployment.
    pub fn is(&self, itself: &Itself) -> bool {
        self.colors.iter().any(|color| itself.is(self.named(&self.deployment(color))))
    }

    /// The colour that gets the traffic and the one that does not; exactly one of the two is live, or nothing is done.
    pub fn live(&self, selector: &BTreeMap<String, String>) -> Result<(&'a str, &'a str), String> {
        let [one, other] = self.colors;
        match selector.get(self.key) {
            Some(value) if value == one => Ok((one, other)),
            Some(value) if value == other => Ok((other, one)),
            Some(value) => {
                Err(format!("{} selects {}={value}, which is neither {one} nor {other}", self.words(), self.key))
            }
            None => Err(format!("{} selects no {}: its selector is {}", self.words(), self.key, words(selector))),
        }
    }

    /// The same selector for another colour.
    pub fn turned(&self, selector: &BTreeMap<String, String>, color: &str) -> BTreeMap<String, String> {
        let mut turned = selector.clone();
        turned.insert(self.key.to_owned(), color.to_owned());
        turned
    }
}

/// As a query writes it, and as people read it: `app=web,version=blue`.
pub fn words(selector: &BTreeMap<String, String>) -> String {
    if selector.is_empty() {
        return "empty".to_owned();
    }
    selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_colour_is_live_or_it_says_what_is_selected() {
        let object = Object::BlueGreen {
            namespace: "production".into(),
            service: "web".into(),
            selector: "version".into(),
            colors: ["blue".into(), "green".into()],
            deployment: "web-{color}".into(),
        };
        let colours = Colours::of(&object).unwrap();
        let selector = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let blue: BTreeMap<String, String> = selector(&[("app", "web"), ("version", "blue")]);
        assert_eq!(colours.live(&blue), Ok(("blue", "green")));
        let green = colours.turned(&blue, "green");
        assert_eq!(words(&green), "app=web,version=green");
        assert_eq!(colours.live(&green), Ok(("green", "blue")));
        let red = colours.live(&selector(&[("version", "red")])).unwrap_err();
        assert_eq!(red, "Service production/web selects version=red, which is neither blue nor green");
        let none = colours.live(&selector(&[("app", "web")])).unwrap_err();
        assert_eq!(none, "Service production/web selects no version: its selector is app=web");
        assert_eq!(colours.deployment("green"), "web-green");
    }
}
