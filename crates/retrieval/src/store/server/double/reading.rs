//! Requests as ours make them, read back, and answers as Qdrant gives them.

use std::collections::BTreeSet;

use qdrant_client::qdrant::{
    self, condition::ConditionOneOf, r#match::MatchValue, points_selector::PointsSelectorOneOf,
};
use tonic::Status;

use super::super::{
    Candidate, DENSE, Filter, HashMap, Payload, Point, PointId, PointStruct, SPARSE, ServerPayload,
    VectorOutput, VectorsOptions, own_id, read_payload, vector_output,
};
use super::wrong;
use crate::lexical::Sparse;

pub(super) fn scored(candidate: Candidate) -> qdrant::ScoredPoint {
    let Candidate { id, document, dense, score } = candidate;
    let payload = serde_json::to_value(Payload::new(document, BTreeSet::new())).unwrap();
    let vector = vector_output::Vector::Dense(qdrant::DenseVector { data: dense });
    let output = VectorOutput { vector: Some(vector), ..Default::default() };
    let named = qdrant::NamedVectorsOutput { vectors: HashMap::from([(DENSE.to_owned(), output)]) };
    qdrant::ScoredPoint {
        id: Some(id.to_string().into()),
        payload: ServerPayload::try_from(payload).unwrap().into(),
        vectors: Some(qdrant::VectorsOutput { vectors_options: Some(VectorsOptions::Vectors(named)) }),
        score,
        ..Default::default()
    }
}

pub(super) fn read_point(point: PointStruct) -> Result<Point, Status> {
    let id = point.id.as_ref().and_then(own_id).ok_or_else(|| wrong("an id that is no UUID"))?;
    let mut vectors = match point.vectors.and_then(|vectors| vectors.vectors_options) {
        Some(qdrant::vectors::VectorsOptions::Vectors(named)) => named.vectors,
        _ => return Err(wrong("vectors without names")),
    };
    let mut vector = |name: &str| vectors.remove(name).and_then(|vector| vector.vector);
    let dense = match vector(DENSE) {
        Some(qdrant::vector::Vector::Dense(dense)) => dense.data,
        _ => return Err(wrong("no dense vector")),
    };
    let sparse = match vector(SPARSE) {
        Some(qdrant::vector::Vector::Sparse(sparse)) => {
            Sparse { indices: sparse.indices, values: sparse.values }
        }
        _ => return Err(wrong("no sparse vector")),
    };
    let payload = read_payload(point.payload).map_err(|error| wrong(&error.to_string()))?;
    Ok(Point { id, dense, sparse, payload })
}

pub(super) fn read_ids(selector: Option<qdrant::PointsSelector>) -> Result<Vec<PointId>, Status> {
    match selector.and_then(|selector| selector.points_selector_one_of) {
        Some(PointsSelectorOneOf::Points(list)) => {
            list.ids.iter().map(|id| own_id(id).ok_or_else(|| wrong("an id that is no UUID"))).collect()
        }
        _ => Err(wrong("points are named by their ids")),
    }
}

pub(super) fn read_filter(filter: Option<qdrant::Filter>) -> Result<Filter, Status> {
    let mut read = Filter::default();
    let Some(qdrant::Filter { should, must, must_not, min_should }) = filter else { return Ok(read) };
    if !should.is_empty() || min_should.is_some() {
        return Err(wrong("a filter of another shape"));
    }
    for condition in must {
        match condition.condition_one_of {
            Some(ConditionOneOf::Field(field)) if field.key == "category" => {
                read.category = Some(keywords(field)?.remove(0));
            }
            Some(ConditionOneOf::Filter(either)) => {
                let [named, empty] = <[_; 2]>::try_from(either.should).map_err(|_| wrong("either of two"))?;
                let (Some(ConditionOneOf::Field(field)), Some(ConditionOneOf::IsEmpty(empty))) =
                    (named.condition_one_of, empty.condition_one_of)
                else {
                    return Err(wrong("a code, or none"));
                };
                let (key, code) = (field.key.clone(), keywords(field)?.remove(0));
                if key != empty.key {
                    return Err(wrong("two keys"));
                }
                match key.as_str() {
                    "places" => read.place = Some(code),
                    "work_types" => read.work_type = Some(code),
                    _ => return Err(wrong("a key that isn't indexed")),
                }
            }
            _ => return Err(wrong("a condition of another kind")),
        }
    }
    for condition in must_not {
        match condition.condition_one_of {
            Some(ConditionOneOf::Field(field)) if field.key == "id" || field.key == "title" => {
                read.leave_out = keywords(field)?;
            }
            _ => return Err(wrong("something else left out")),
        }
    }
    Ok(read)
}

fn keywords(field: qdrant::FieldCondition) -> Result<Vec<String>, Status> {
    match field.r#match.and_then(|found| found.match_value) {
        Some(MatchValue::Keyword(keyword)) => Ok(vec![keyword]),
        Some(MatchValue::Keywords(keywords)) if !keywords.strings.is_empty() => Ok(keywords.strings),
        _ => Err(wrong("no keyword to match")),
    }
}
