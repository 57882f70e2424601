//! The functions that jobs may name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::domain::{FunctionName, Invalid, Json, Pool, Signature};

use super::native::{Native, Refusal};

/// A named thing that can be called.
#[derive(Debug)]
pub struct Function {
    /// What jobs call it by.
    pub name: FunctionName,
    pub(super) native: Native,
}

impl Function {
    /// Its parameters.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.native.signature
    }

    /// What it does, for people.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.native.description
    }

    /// The runtime it has: `native`.
    #[must_use]
    pub fn runtime(&self) -> &'static str {
        "native"
    }

    /// Where it runs.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.native.run.pool()
    }

    /// Binds a call's arguments to the signature and checks them against the argument type, as
    /// they will be read when the job runs.
    ///
    /// # Errors
    /// [`Refusal`] in words for the caller.
    pub fn bind(&self, args: &Json, kwargs: &Json) -> Result<Json, Refusal> {
        let malformed = |error: serde_json::Error| Refusal::Invalid(error.to_string());
        let args: Vec<&RawValue> = serde_json::from_str(args.as_str()).map_err(malformed)?;
        let kwargs: Kwargs<'_> = serde_json::from_str(kwargs.as_str()).map_err(malformed)?;
        let pairs: Vec<(&str, &RawValue)> =
            kwargs.0.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let bound = self.native.signature.bind(&self.name, &args, &pairs);
        let bound = bound.map_err(|error| Refusal::Invalid(error.to_string()))?;
        (self.native.check)(&bound).map_err(|refusal| refusal.of(&self.name))?;
        Ok(bound)
    }
}

#[derive(serde::Deserialize)]
struct Kwargs<'a>(#[serde(borrow)] BTreeMap<String, &'a RawValue>);

/// All functions, by name.
#[derive(Debug, Default)]
pub struct Registry {
    functions: BTreeMap<String, Arc<Function>>,
}

impl Registry {
    /// Adds a function; a later one of the same name takes the place of the former.
    ///
    /// # Errors
    /// [`Invalid`] if the name does not follow the rule.
    pub fn add(&mut self, name: &str, native: Native) -> Result<(), Invalid> {
        let name = FunctionName::new(name)?;
        self.functions.insert(name.to_string(), Arc::new(Function { name, native }));
        Ok(())
    }

    /// The function of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.functions.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.functions.values()
    }
}
