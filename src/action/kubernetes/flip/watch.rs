//! How the new colour fares: where the endpoints point, how many are ready, and its smoke test.
//!
//! A moment's dip is not a failure: what is not well is looked at again for as long as one measurement may take.

use super::{
    Flip,
    colours::Colours,
    pinned::Pinned,
    service::{Endpoints, Service},
    side::chosen_pods,
    smoke::{Smoke, Smoked},
};
use crate::{
    action::kubernetes::{deadline, workload::Workload},
    model::{observation::TargetReading, plan::Plan, target::Kind},
};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// For the requests of one look, beside the smoke test.
const LOOK: Duration = Duration::from_secs(1);

impl Flip {
    pub(super) async fn watch(&self, plan: &Plan, within: Duration) -> Result<TargetReading, String> {
        let until = deadline(within);
        let colours = Colours::of(&plan.target.object)?;
        let to = Pinned::read(&plan.proposal.to)?;
        let needs = PAUSE + LOOK + to.smoke.as_ref().map_or(Duration::ZERO, Smoke::longest);
        loop {
            let reading = self.look(plan, colours, &to, until).await?;
            let broken = matches!(reading, TargetReading::Broken { .. });
            if !broken || Instant::now() + needs > until {
                return Ok(reading_of(plan, reading));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn look(
        &self,
        plan: &Plan,
        colours: Colours<'_>,
        to: &Pinned,
        until: Instant,
    ) -> Result<TargetReading, String> {
        let deployment = colours.deployment(&to.color);
        let (service, endpoints, pods, workload) = tokio::join!(
            Service::read(&self.cluster, colours, until),
            Endpoints::read(&self.cluster, colours, until),
            chosen_pods(&self.cluster, colours, &to.selector, until),
            Workload::find(&self.cluster, colours.named(&deployment), until)
        );
        let (service, endpoints, pods) = (service?, endpoints?, pods?);
        if service.metadata.uid != plan.proposal.uid {
            return Ok(TargetReading::NotYet { says: "it was deleted and made anew".to_owned() });
        }
        // Somebody else's choice is not the new colour's failure, and is not fought.
        if let Some(says) = service.difference(&to.selector) {
            return Ok(TargetReading::NotYet { says });
        }
        // What an autoscaler took away since is missed by nobody. Without its Deployment a colour is as it was pinned.
        let replicas = workload?.ok().and_then(|workload| workload.replicas(Kind::Deployment));
        let wanted = replicas.map_or(to.wanted, |replicas| to.wanted.min(replicas)).max(1);
        let ready = match endpoints.are(&to.color, &pods, wanted, &to.anyway) {
            Ok(ready) => ready,
            Err(says) => return Ok(TargetReading::Broken { says }),
        };
        let smoked = match &to.smoke {
            Some(smoke) => self.smoker.test(smoke, &to.color, until).await,
            None => Smoked::Green,
        };
        match smoked {
            Smoked::Green => {
                Ok(TargetReading::Watched { says: format!("traffic goes to {ready} ready pods of {}", to.color) })
            }
            // Silence too: whether it was the way there shows when the other colour is asked before going back.
            Smoked::Red(says) | Smoked::Silent(says) => Ok(TargetReading::Broken { says }),
            Smoked::NotAllowed(why) | Smoked::NotRun(why) => Err(why),
        }
    }
}

/// What was put back is not watched: it is well, or not yet.
fn reading_of(plan: &Plan, reading: TargetReading) -> TargetReading {
    match reading {
        TargetReading::Watched { says } if plan.proposal.undo.is_null() => TargetReading::Well { says },
        TargetReading::Broken { says } if plan.proposal.undo.is_null() => TargetReading::NotYet { says },
        other => other,
    }
}
