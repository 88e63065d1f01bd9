//! Metrics whose labels take only known words, every series there from the start; and Prometheus' text format.

use prometheus_client::{
    metrics::{TypedMetric, family::Family, histogram::Histogram},
    registry::{Metric, Registry},
};

/// The label value of a word that is not in its closed list.
pub const OTHER: &str = "other";

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// One metric with closed lists of label values.
#[derive(Debug)]
pub(super) struct Closed<M, const N: usize> {
    family: Family<Labels<N>, M, fn() -> M>,
    lists: [(&'static str, Vec<&'static str>); N],
}

impl<M: Clone, const N: usize> Closed<M, N> {
    pub(super) fn of(&self, words: [&'static str; N]) -> M {
        let mut labels: Labels<N> = [("", ""); N];
        for ((label, (key, list)), word) in labels.iter_mut().zip(&self.lists).zip(words) {
            *label = (key, if list.contains(&word) { word } else { OTHER });
        }
        self.family.get_or_create(&labels).clone()
    }
}

pub(super) struct Make {
    pub(super) registry: Registry,
}

impl Make {
    pub(super) fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.registry.register(name, help, metric);
    }
    pub(super) fn plain<M: Metric + Default + Clone>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.add(name, help, metric.clone());
        metric
    }
    pub(super) fn histogram(&mut self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let metric = Histogram::new(buckets.iter().copied());
        self.add(name, help, metric.clone());
        metric
    }
    pub(super) fn closed<M, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        lists: [(&'static str, Vec<&'static str>); N],
    ) -> Closed<M, N>
    where
        M: Metric + TypedMetric + Default + Clone,
    {
        self.closed_with(name, help, lists, M::default)
    }
    pub(super) fn closed_with<M, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        lists: [(&'static str, Vec<&'static str>); N],
        constructor: fn() -> M,
    ) -> Closed<M, N>
    where
        M: Metric + TypedMetric + Clone,
    {
        let family = Family::new_with_constructor(constructor);
        self.add(name, help, family.clone());
        let closed = Closed { family, lists };
        for words in combinations(&closed.lists) {
            closed.of(words);
        }
        closed
    }
}

/// Every combination of the lists' words.
fn combinations<const N: usize>(lists: &[(&'static str, Vec<&'static str>); N]) -> Vec<[&'static str; N]> {
    let mut all = vec![[""; N]];
    for (place, (_, list)) in lists.iter().enumerate() {
        all = all
            .into_iter()
            .flat_map(|words| {
                list.iter().map(move |word| {
                    let mut words = words;
                    if let Some(slot) = words.get_mut(place) {
                        *slot = word;
                    }
                    words
                })
            })
            .collect();
    }
    all
}

/// A list owned by another module, with the word for what is not in it.
pub(super) fn open(words: &[&'static str]) -> Vec<&'static str> {
    words.iter().copied().filter(|word| *word != OTHER).chain([OTHER]).collect()
}

/// OpenMetrics as Prometheus' older text format: there a counter's name ends in `_total` in HELP and TYPE too.
pub(super) fn plain_format(open_metrics: &str) -> String {
    let described = |line: &str, kind: &str| -> Option<(String, String)> {
        let (name, rest) = line.strip_prefix(kind)?.split_once(' ')?;
        Some((name.to_owned(), rest.to_owned()))
    };
    let counters: std::collections::BTreeSet<String> = open_metrics
        .lines()
        .filter_map(|line| described(line, "# TYPE ").filter(|(_, kind)| kind == "counter").map(|(name, _)| name))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let found = ["# HELP ", "# TYPE "].into_iter().find_map(|kind| Some((kind, described(line, kind)?)));
        match found {
            Some((kind, (name, rest))) => {
                let suffix = if counters.contains(&name) { "_total" } else { "" };
                text.push_str(&format!("{kind}{name}{suffix} {rest}\n"));
            }
            None if line.starts_with('#') => {}
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}
