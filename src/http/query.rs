//! Query parameters to values. Unknown parameters are ignored.

use std::ops::RangeInclusive;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Query;

use crate::domain::error::{Code, Error};
use crate::domain::filter::JobFilter;
use crate::domain::metadata::Metadata;
use crate::domain::page::{ListCursor, ListQuery};
use crate::domain::status::Status;
use crate::domain::time::Time;
use crate::engine::ports::Order;

/// Items of a page when the request names no number, and the most.
pub const LIMIT: u32 = 20;
pub const MAX_LIMIT: u32 = 100;
/// Characters of a search.
const MAX_SEARCH: usize = 200;
/// Seconds that a client may wait for the end of a job.
const MAX_WAIT: u32 = 60;

/// The parameters of a request; of repeated ones the last counts.
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub fn of(request: &HttpRequest) -> Result<Self, Error> {
        Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map(|query| Self(query.into_inner()))
            .map_err(|error| {
                Error::new(
                    Code::InvalidRequest,
                    format!("The query string cannot be read: {error}."),
                )
            })
    }

    /// The value of a parameter; empty counts as not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Every value of a parameter that may be there more than once, empty ones left out.
    pub fn every<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let given = self.0.iter().filter(move |(key, _)| key == name);
        given
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// `limit`, `cursor` and `search`.
    pub fn list(&self) -> Result<ListQuery, Error> {
        let limit = self.number("limit", 1..=MAX_LIMIT, LIMIT)?;
        let search = self.get("search").map(str::to_owned);
        if let Some(text) = search
            .as_ref()
            .filter(|text| text.chars().count() > MAX_SEARCH)
        {
            return Err(refused(
                "search",
                text,
                &format!("at most {MAX_SEARCH} characters"),
            ));
        }
        let cursor = self.get("cursor").map(ListCursor::parse).transpose()?;
        Ok(ListQuery {
            limit,
            cursor,
            search,
        })
    }

    /// Where a list has no pages of its own: `limit`, as many as may be when it is not given, and
    /// `cursor`.
    pub fn history(&self) -> Result<ListQuery, Error> {
        Ok(ListQuery {
            limit: self.number("limit", 1..=MAX_LIMIT, MAX_LIMIT)?,
            cursor: self.get("cursor").map(ListCursor::parse).transpose()?,
            search: None,
        })
    }

    /// A whole number within a range, or `default` when it is not given.
    pub fn number(
        &self,
        name: &str,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> Result<u32, Error> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            refused(name, text, &format!("a number from {low} to {high}"))
        })
    }

    /// The place of a word in `words`; the first one when it is not given.
    pub fn word(&self, name: &str, words: &[&str]) -> Result<usize, Error> {
        let Some(text) = self.get(name) else {
            return Ok(0);
        };
        let found = words.iter().position(|word| *word == text);
        found.ok_or_else(|| refused(name, text, &format!("one of {}", words.join(", "))))
    }

    /// `job_status`, `model`, `from`, `to` and `metadata`.
    pub fn job_filter(&self) -> Result<JobFilter, Error> {
        let statuses = self.job_status()?.into_iter().collect();
        Ok(JobFilter {
            statuses,
            model: self.get("model").map(str::to_owned),
            from: self.time("from")?,
            to: self.time("to")?,
            metadata: self.metadata()?,
            ..JobFilter::default()
        })
    }

    /// `order`: `desc`, the newest first, or `asc`.
    pub fn order(&self) -> Result<Order, Error> {
        let orders = [Order::NewestFirst, Order::OldestFirst];
        Ok(orders[self.word("order", &["desc", "asc"])?])
    }

    /// `wait`, seconds; none at all when it is not given.
    pub fn wait(&self) -> Result<Duration, Error> {
        let seconds = self.number("wait", 0..=MAX_WAIT, 0)?;
        Ok(Duration::from_secs(seconds.into()))
    }

    fn job_status(&self) -> Result<Option<Status>, Error> {
        let Some(text) = self.get("job_status") else {
            return Ok(None);
        };
        let known = || Status::ALL.map(Status::name).join(", ");
        Status::parse(text)
            .map(Some)
            .ok_or_else(|| refused("job_status", text, &format!("one of {}", known())))
    }

    /// A moment or a day.
    pub fn time(&self, name: &str) -> Result<Option<Time>, Error> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let time = Time::parse(text);
        time.map(Some).ok_or_else(|| {
            refused(
                name,
                text,
                "a day such as 2026-03-31, or a moment such as 2026-03-31T12:00:00Z",
            )
        })
    }

    /// `metadata`: an object of texts, as JSON.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        let Some(text) = self.get("metadata") else {
            return Ok(Metadata::default());
        };
        let value = serde_json::from_str(text);
        let value =
            value.map_err(|_| refused("metadata", text, "JSON, such as {\"team\":\"billing\"}"))?;
        Metadata::parse("/metadata", &value)
    }

    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(refused(name, other, "true or false")),
        }
    }
}

pub fn refused(name: &str, value: &str, allowed: &str) -> Error {
    let shown: String = value.chars().take(80).collect();
    let message = format!("`{shown}` is not allowed for `{name}`; expected {allowed}.");
    Error::new(Code::InvalidRequest, message.clone()).at(format!("/{name}"), message)
}
