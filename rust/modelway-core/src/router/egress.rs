//! The router's gate: consents given and revoked, and passes for what is about to be sent.

use std::sync::Arc;

use super::Router;
use crate::egress::{Consent, Pass, WallMillis};
use crate::reason::Rejection;
use crate::request::Request;
use crate::select::{SelectError, class_of};

/// Why there is no pass to ask a backend how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoControl {
    /// No backend is called so.
    Unknown,
    /// It is not one of the user's own network, or that is not allowed; its destination.
    Refused(String),
}

impl Router {
    /// From now on these consents are given and no others. Passes made under one that is not among them are void.
    pub fn set_consents(&self, consents: Vec<Consent>) {
        let mut state = self.lock();
        state.gate = Arc::new(state.gate.with_consents(consents));
    }

    /// A pass to send a request to the model of this name; `None`: it is on this device. The text is read under the
    /// table in force now, and judged by what is in force once it is read.
    ///
    /// # Errors
    /// [`SelectError`]: as for a selection of which it is the only candidate, but that it need not be able to serve.
    pub fn clear(
        &self,
        name: &str,
        request: &Request<'_>,
        request_id: &str,
        wall_now: impl FnOnce() -> WallMillis,
    ) -> Result<Option<Pass>, SelectError> {
        let unknown = |nearest: Option<&str>| SelectError::UnknownModel(nearest.map(str::to_owned));
        let table = self.table();
        let index = table.find(name).ok_or_else(|| unknown(table.nearest(name)))?;
        if table.model(index).site.is_here() {
            return Ok(None);
        }
        let sending = request.sending(class_of(&table, request)?.0);
        let now = wall_now();
        let state = self.lock();
        let index = state.table.find(name).ok_or_else(|| unknown(state.table.nearest(name)))?;
        if state.table.is_forbidden(index) {
            return Err(SelectError::NoneLeft(vec![(index, Rejection::License)]));
        }
        let model = state.table.model(index);
        state.gate.pass(&model.site, &model.model_id, sending, request_id, now).map_err(|why| match why {
            Rejection::Consent => SelectError::ConsentRequired(vec![index], sending.kinds),
            why => SelectError::NoneLeft(vec![(index, why)]),
        })
    }

    /// A pass to ask a backend how it is and what it has; `None`: it is on this device.
    ///
    /// # Errors
    /// [`NoControl`]: only servers of the user's own network are asked, and only where they need no consent.
    pub fn clear_control(&self, backend: &str) -> Result<Option<Pass>, NoControl> {
        let state = self.lock();
        let site = state.rules.sites.get(backend).ok_or(NoControl::Unknown)?;
        let refused = |_| NoControl::Refused(site.destination.clone().unwrap_or_default());
        state.gate.control_pass(site).map_err(refused)
    }
}
