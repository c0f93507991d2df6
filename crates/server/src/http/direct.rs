//! The same checks and sentences as over HTTP, for who asks without it.

use leafresh_chat::{BaseInfo, Catalog, Failure};

use super::Error;
use super::names::Name;
use super::params::{Given, Known, Raw, Table, Values, check};

/// Why values can't be used, as a sentence of the catalogue.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// The request that these values are.
///
/// # Errors
/// [`Refused`] with the sentence that a client would get.
pub fn base_info(
    location: &str,
    work_type: &str,
    category: &str,
    catalog: &Catalog,
) -> Result<BaseInfo, Refused> {
    let mut given = Given::default();
    for (name, value) in [(Name::Location, location), (Name::WorkType, work_type), (Name::Category, category)]
    {
        given.set(name, Some(Raw::Text(value.to_owned())));
    }
    match check(&Table::BASE_INFO, &given, Known { catalog, adapters: None }) {
        Ok(Values { location, work_type, category, .. }) => {
            Ok(BaseInfo { location, work_type, category, ..BaseInfo::default() })
        }
        Err(error) => Err(Refused(error.envelope(catalog.replies()).message)),
    }
}

/// What a client is told of a failure; of none: that the answer just ended.
pub fn sentence(failure: Option<Failure>, catalog: &Catalog) -> String {
    let error = failure.map_or(Error::Internal, |failure| Error::from_failure(failure, false));
    error.envelope(catalog.replies()).message
}
