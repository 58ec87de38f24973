//! Lists of jobs, with all filters.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::answers::{self, Part, Shown};
use super::endpoints::Endpoint;
use super::jobs::{id, named};
use super::model_of;
use crate::domain::error::Error;
use crate::domain::filter::{JobFilter, NamePattern};
use crate::domain::id::{JobId, SchemaId};
use crate::domain::metadata::Metadata;
use crate::domain::page::{ListCursor, ListPage, ListQuery};
use crate::domain::status::Status;
use crate::domain::time::Time;
use crate::engine::Engine;
use crate::engine::ports::{JobQuery, Order};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::query::{LIMIT, MAX_LIMIT, Parameters, refused};

const STATUSES: [&str; 7] = [
    "validating",
    "queued",
    "in_progress",
    "completed",
    "failed",
    "cancelled",
    "expired",
];
const DAY_MS: u64 = 86_400_000;
/// Bytes of a page after which no more jobs are put on it, whatever was asked for.
const MAX_PAGE: usize = 16 << 20;
/// Kinds of documents that a filter can name, by the endings of their names.
const KINDS: [(&str, &str); 4] = [
    ("image", "png|jpe?g|webp|gif|tiff?|bmp|hei[cf]"),
    ("text", "txt|text"),
    ("markdown", "md|markdown"),
    ("pdf", "pdf"),
];
/// Characters of the ending that a filter names.
const MAX_ENDING: usize = 10;

pub async fn list(
    engine: web::Data<Engine>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request)?;
    let shown = Shown::BRIEF.asked(&parameters)?;
    let (page, is_back) = paged(&parameters)?;
    let order = parameters.order()?;
    let Some(filter) = filter(&engine, &parameters)? else {
        return Ok(HttpResponse::Ok().json(body(Vec::new(), None, false)));
    };
    let page = directed(page, is_back, order);
    let query = JobQuery {
        page,
        filter,
        order,
    };
    let page = engine.jobs(&caller.0, query).await?;
    let onward = if is_back {
        page.prev_cursor
    } else {
        page.next_cursor
    };
    let mut has_more = onward.is_some();
    let mut jobs = Vec::new();
    let mut size = 0;
    for view in ordered(&page, is_back) {
        if size > MAX_PAGE {
            has_more = true;
            break;
        }
        let shown = Shown {
            // The contents of a hundred documents have no room on a page.
            request: shown.request.min_brief(),
            ..shown
        };
        let job = answers::job(&engine, &caller.0, view, shown).await?;
        if shown.response {
            size += job.to_string().len();
        }
        jobs.push(job);
    }
    if is_back {
        jobs.reverse();
    }
    Ok(HttpResponse::Ok().json(body(jobs, onward, has_more)))
}

impl Part {
    fn min_brief(self) -> Self {
        match self {
            Self::Whole => Self::Brief,
            other => other,
        }
    }
}

/// From the place that the page was asked for on.
fn ordered(
    page: &ListPage<crate::domain::job::JobView>,
    is_back: bool,
) -> Box<dyn Iterator<Item = &crate::domain::job::JobView> + '_> {
    if is_back {
        Box::new(page.items.iter().rev())
    } else {
        Box::new(page.items.iter())
    }
}

fn body(jobs: Vec<Value>, onward: Option<ListCursor>, has_more: bool) -> Value {
    let place = |job: Option<&Value>| job.map(|job| job["id"].clone());
    // A page on which nothing was found leads on all the same.
    let onward = onward.filter(|_| jobs.is_empty()).map(|cursor| {
        let (ListCursor::Older(id) | ListCursor::Newer(id)) = cursor;
        json!(named(JobId(id)))
    });
    json!({
        "object": "list",
        "first_id": place(jobs.first()).or_else(|| onward.clone()),
        "last_id": place(jobs.last()).or(onward),
        "has_more": has_more,
        "data": jobs,
    })
}

/// The page, as if the newest came first; whether it lies before a job.
fn paged(parameters: &Parameters) -> Result<(ListQuery, bool), Error> {
    let place = |name: &str| {
        let given = parameters.get(name).map(|text| (text, id(text)));
        let read = given.map(|(text, id)| {
            id.map_err(|_| {
                refused(
                    name,
                    text,
                    "the id of a job, such as `first_id` and `last_id`",
                )
            })
        });
        read.transpose()
    };
    let (before, after) = (place("before")?, place("after")?);
    if before.is_some() && after.is_some() {
        let given = parameters.get("before").unwrap_or_default();
        return Err(refused(
            "before",
            given,
            "one of `before` and `after`, not both",
        ));
    }
    let cursor = match (before, after) {
        (Some(job), _) => Some(ListCursor::Newer(job.0)),
        (None, after) => after.map(|job| ListCursor::Older(job.0)),
    };
    let page = ListQuery {
        limit: parameters.number("limit", 1..=MAX_LIMIT, LIMIT)?,
        cursor,
        search: None,
    };
    Ok((page, before.is_some()))
}

/// With the oldest first, what comes after a job is newer.
fn directed(mut page: ListQuery, is_back: bool, order: Order) -> ListQuery {
    if order == Order::OldestFirst {
        page.cursor = page.cursor.map(|cursor| match cursor {
            ListCursor::Older(id) | ListCursor::Newer(id) if is_back => ListCursor::Older(id),
            ListCursor::Older(id) | ListCursor::Newer(id) => ListCursor::Newer(id),
        });
    }
    page
}

/// What is asked for; `None` where nothing can be of that kind here.
fn filter(engine: &Engine, parameters: &Parameters) -> Result<Option<JobFilter>, Error> {
    let get = |name: &str| parameters.get(name);
    let job = get("id").map(id);
    let schema = get("project_id").map(SchemaId::parse);
    if matches!(job, Some(Err(_))) || matches!(schema, Some(Err(_))) {
        // No job and no project has such an id.
        return Ok(None);
    }
    let statuses = statuses(parameters)?;
    let source = get("source").map(|_| parameters.word("source", &["api", "project", "workflow"]));
    let source = source.transpose()?;
    // Workflows are not run here.
    if statuses.as_ref().is_some_and(Vec::is_empty) || source == Some(2) {
        return Ok(None);
    }
    let mut endpoint = get("endpoint")
        .map(|text| Endpoint::named("/endpoint", text))
        .transpose()?;
    if source == Some(1) {
        let project = Endpoint::ProjectExtract;
        if endpoint.is_some_and(|endpoint| endpoint != project) {
            return Ok(None);
        }
        endpoint = Some(project);
    }
    let to = day(parameters, "to_date")?.map(|day| day.plus_millis(DAY_MS));
    Ok(Some(JobFilter {
        statuses: statuses.unwrap_or_default(),
        id: job.and_then(Result::ok),
        dialect: endpoint.map(|_| super::NAME.to_owned()),
        endpoint: endpoint.map(|endpoint| endpoint.path().to_owned()),
        schema_id: schema.and_then(Result::ok),
        model: get("model").map(|model| model_of(engine, Some(model)).to_owned()),
        name_contains: get("filename_contains").map(str::to_owned),
        name_pattern: pattern(parameters)?,
        from: day(parameters, "from_date")?,
        to,
        metadata: metadata(parameters)?,
    }))
}

/// The engine's words for a status of this dialect; none of them: nothing is ever that.
fn statuses(parameters: &Parameters) -> Result<Option<Vec<Status>>, Error> {
    if parameters.get("status").is_none() {
        return Ok(None);
    }
    let status = STATUSES[parameters.word("status", &STATUSES)?];
    let all = Status::ALL.into_iter();
    Ok(Some(
        all.filter(|known| answers::word(*known) == status)
            .collect(),
    ))
}

fn day(parameters: &Parameters, name: &str) -> Result<Option<Time>, Error> {
    let Some(text) = parameters.get(name) else {
        return Ok(None);
    };
    let day = Some(text)
        .filter(|text| text.len() == 10)
        .and_then(Time::parse);
    day.map(Some)
        .ok_or_else(|| refused(name, text, "a day such as 2026-03-31"))
}

fn pattern(parameters: &Parameters) -> Result<Option<NamePattern>, Error> {
    let by_name = parameters.get("filename_regex");
    let by_name = by_name.map(|text| NamePattern::parse("filename_regex", text));
    let kinds = parameters.every("document_type");
    let kinds: Vec<_> = kinds.chain(parameters.every("document_type[]")).collect();
    if kinds.is_empty() {
        return by_name.transpose();
    }
    let mut endings = Vec::new();
    for kind in kinds {
        let lower = kind.to_ascii_lowercase();
        let known = KINDS.iter().find(|(name, _)| *name == lower);
        let is_ending = (1..=MAX_ENDING).contains(&lower.len())
            && lower.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match known {
            Some((_, of_kind)) => endings.push((*of_kind).to_owned()),
            None if is_ending => endings.push(lower),
            None => {
                let allowed = "image, text, markdown, pdf, or the ending of a file's name";
                return Err(refused("document_type", kind, allowed));
            }
        }
    }
    endings.sort_unstable();
    endings.dedup();
    let of_kinds = format!("(?i)\\.({})$", endings.join("|"));
    let of_kinds = NamePattern::parse("document_type", &of_kinds)?;
    Ok(Some(match by_name.transpose()? {
        Some(by_name) => by_name.and(of_kinds),
        None => of_kinds,
    }))
}

/// Pairs that a job has. The ids of a workflow are such pairs.
fn metadata(parameters: &Parameters) -> Result<Metadata, Error> {
    let given = json!(parameters.metadata()?);
    let mut pairs = given.as_object().cloned().unwrap_or_default();
    for name in ["workflow_id", "workflow_block_id"] {
        if let Some(id) = parameters.get(name) {
            pairs.insert(name.to_owned(), json!(id));
        }
    }
    Metadata::parse("/metadata", &Value::Object(pairs))
}
