//! Executions written by hand: the executor of tests.

use std::fmt;

use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::request::Request;

type Script = dyn FnMut(&Request, &Plan) -> Option<Execution> + Send;

/// Answers what it was told to answer.
pub struct Scripted(Box<Script>);

impl Scripted {
    /// The executions in the order in which the executor is asked.
    #[must_use]
    pub fn list(executions: impl IntoIterator<Item = Execution, IntoIter: Send + 'static>) -> Self {
        let mut executions = executions.into_iter();
        Self(Box::new(move |_, _| executions.next()))
    }

    /// The execution that `script` gives for a request and its plan.
    #[must_use]
    pub fn by(mut script: impl FnMut(&Request, &Plan) -> Execution + Send + 'static) -> Self {
        Self(Box::new(move |request, plan| Some(script(request, plan))))
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

impl Executor for Scripted {
    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution> {
        (self.0)(request, plan).ok_or_else(|| {
            Error::new("scripted executor", "the script is over")
                .found(format!("request {}", request.id))
        })
    }
}
