//! A target with `blue_green`: a Service whose selector chooses between two colours.

use super::{
    check::{Check, LONGEST_NAME_BYTES},
    file,
    targets::{is_label_key, is_label_value, object_name},
};
use crate::{
    action::kubernetes::flip::COLOR,
    config::yaml::Located,
    model::target::{Kind, Object},
};

/// A Service without it, or it without a Service, is no target.
pub(super) fn object(
    check: &mut Check<'_>,
    target: &file::Target,
    written: &Located<file::Kubernetes>,
    service: &Located<String>,
) -> Option<Object> {
    let kubernetes = &written.value;
    let others = [&kubernetes.deployment, &kubernetes.statefulset, &kubernetes.daemonset, &kubernetes.selector];
    if kubernetes.kind.is_some() || others.iter().any(|other| other.is_some()) {
        check.error(&written.place, "a target with a `service` is nothing else besides");
        return None;
    }
    let unfitting = [
        target.replicas.as_ref().map(|replicas| (&replicas.place, "a Service has no replicas")),
        target.pick.as_ref().map(|pick| (&pick.place, "one object is not picked")),
    ];
    // Without colours that is the one thing to say of it.
    for (place, what) in unfitting.into_iter().flatten().filter(|_| target.blue_green.is_some()) {
        check.hinted(place, what, "remove it: the colours' Deployments may be targets of their own");
    }
    let namespace = object_name(check, &kubernetes.namespace, "namespace");
    let service_name = object_name(check, service, "Service");
    let Some(blue_green) = &target.blue_green else {
        let hint = "add `blue_green: {selector: version, colors: [blue, green], deployment: \"web-{color}\"}`";
        check.hinted(&service.place, "a Service is a target for its two colours only", hint);
        return None;
    };
    let colours = &blue_green.value;
    let selector = key(check, &colours.selector);
    let colors = two(check, &colours.colors);
    let deployment = check.text(Some(&colours.deployment), LONGEST_NAME_BYTES)?;
    if deployment.matches(COLOR).count() != 1 {
        let hint = "write it like `\"web-{color}\"`";
        check.hinted(&colours.deployment.place, "`deployment` names `{color}` once", hint);
        return None;
    }
    let (namespace, colors) = (namespace?, colors?);
    for color in &colors {
        let name = Located { value: deployment.replace(COLOR, color), place: colours.deployment.place.clone() };
        let name = object_name(check, &name, Kind::Deployment.word())?;
        let of_color = Object::Workload { namespace: namespace.clone(), kind: Kind::Deployment, name, selector: None };
        if check.context.itself == Some(&of_color) {
            let hint = "it would take the traffic from itself in the middle of a step";
            check.hinted(&colours.deployment.place, "a colour of this target is nightshift itself", hint);
            return None;
        }
    }
    Some(Object::BlueGreen { namespace, service: service_name?, selector: selector?, colors, deployment })
}

fn key(check: &mut Check<'_>, written: &Located<String>) -> Option<String> {
    if is_label_key(&written.value) {
        return Some(written.value.clone());
    }
    let shown = crate::telemetry::text::shortened(&written.value, 60);
    check.hinted(
        &written.place,
        format!("`{shown}` is not a label's name"),
        "such as `version`: its value is the colour",
    );
    None
}

fn two(check: &mut Check<'_>, written: &Located<Vec<Located<String>>>) -> Option<[String; 2]> {
    let [one, other] = written.value.as_slice() else {
        check.error(&written.place, format!("`colors` are two, not {}", written.value.len()));
        return None;
    };
    if one.value == other.value {
        check.error(&other.place, "both colours are the same");
        return None;
    }
    let mut fits = true;
    for color in [one, other] {
        if color.value.is_empty() || !is_label_value(&color.value) {
            let shown = crate::telemetry::text::shortened(&color.value, 60);
            check.hinted(&color.place, format!("`{shown}` is not a colour"), "it is a label's value, such as `blue`");
            fits = false;
        }
    }
    fits.then(|| [one.value.clone(), other.value.clone()])
}
