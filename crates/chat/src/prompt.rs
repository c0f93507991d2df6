//! Prompts from the catalogue's templates, with the model's own chat template around them where it has one.

use std::path::{Path, PathBuf};

use leafresh_engine::{ModelInfo, Piece, Prompt};
use minijinja::{Environment, UndefinedBehavior, Value, context};

use crate::catalog::source;
use crate::{Category, Document, Error};

const BASE_INFO: &str = "prompts/base-info.j2";
const BASE_INFO_CHAT: &str = "prompts/base-info.chat.j2";

/// Stands for the content while the chat template is rendered: private-use characters, which no input may hold.
const CONTENT: &str = "\u{E000}content\u{E000}";

/// The catalogue's prompt templates.
#[derive(Debug, Clone)]
pub(crate) struct Prompts {
    templates: Environment<'static>,
    dir: PathBuf,
}

/// What a prompt is made of.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) location: &'a str,
    /// How a place that the catalogue knows reads in a sentence.
    pub(crate) place_phrase: Option<&'a str>,
    pub(crate) work_type: &'a str,
    pub(crate) work_phrase: Option<&'a str>,
    pub(crate) category: &'a Category,
    /// Documents for the model to read; empty when it reads none.
    pub(crate) documents: &'a [&'a Document],
}

impl Prompts {
    pub(crate) fn load(dir: &Path) -> Result<Self, Error> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        for name in [BASE_INFO, BASE_INFO_CHAT] {
            let (text, path) = source::read(dir, name)?;
            templates
                .add_template_owned(name, text)
                .map_err(|error| source::error_on_line(&path, error.line().unwrap_or(1), describe(&error)))?;
        }
        let prompts = Self { templates, dir: dir.to_owned() };
        prompts.check()?;
        Ok(prompts)
    }

    /// Renders every template once, so that a misspelt name is found at the start.
    fn check(&self) -> Result<(), Error> {
        let text = || String::from("x");
        let category = Category { code: text(), label: text(), aliases: Vec::new(), description: text() };
        let document = Document {
            id: text(),
            category: text(),
            places: Vec::new(),
            work_types: Vec::new(),
            title: text(),
            text: text(),
            short: text(),
            source: text(),
        };
        let documents = [&document];
        let request = Request {
            location: "x",
            place_phrase: None,
            work_type: "x",
            work_phrase: None,
            category: &category,
            documents: &documents,
        };
        for name in [BASE_INFO, BASE_INFO_CHAT] {
            self.render(name, &request)?;
        }
        Ok(())
    }

    fn render(&self, name: &str, request: &Request) -> Result<String, Error> {
        let documents: Vec<Value> = request
            .documents
            .iter()
            .map(|document| context! { title => document.title, text => document.text })
            .collect();
        let values = context! {
            location => request.location,
            place_phrase => request.place_phrase,
            work_type => request.work_type,
            work_phrase => request.work_phrase,
            category => request.category.label,
            description => request.category.description,
            documents,
        };
        self.templates.get_template(name).and_then(|template| template.render(values)).map_err(|error| {
            source::error_on_line(&self.dir.join(name), error.line().unwrap_or(1), describe(&error))
        })
    }

    /// The prompt for a request: in the layout of examples, or, with `chat`, as a turn of the model's chat template.
    ///
    /// # Errors
    /// [`Error::Settings`] when the model's chat template can't be used, [`Error::Catalog`] when a template fails.
    pub(crate) fn base_info(
        &self,
        request: &Request,
        chat: bool,
        model: &ModelInfo,
    ) -> Result<Prompt, Error> {
        if !chat {
            return Ok(Prompt { pieces: vec![Piece::Text(self.render(BASE_INFO, request)?)] });
        }
        let content = self.render(BASE_INFO_CHAT, request)?;
        let (before, after) = chat_frame(model)?;
        Ok(Prompt { pieces: vec![Piece::Template(before), Piece::Text(content), Piece::Template(after)] })
    }
}

/// What the model's chat template puts before and after a user's turn, the answer's opening included.
fn chat_frame(model: &ModelInfo) -> Result<(String, String), Error> {
    let unusable = |reason: String| {
        Error::Settings(format!("chat.chat_template = true, but the model {reason}; set it to false"))
    };
    let Some(template) = &model.chat_template else {
        return Err(unusable("has no chat template".into()));
    };
    let mut environment = Environment::new();
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |reason: String| -> Result<String, minijinja::Error> {
        Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, reason))
    });
    let values = context! {
        messages => vec![context! { role => "user", content => CONTENT }],
        add_generation_prompt => true,
        bos_token => model.bos,
        eos_token => model.eos,
    };
    let rendered = environment
        .render_str(template, values)
        .map_err(|error| unusable(format!("has a chat template that fails: {}", describe(&error))))?;
    match rendered.split_once(CONTENT) {
        Some((before, after)) => Ok((before.to_owned(), after.to_owned())),
        None => Err(unusable("has a chat template that drops the user's turn".into())),
    }
}

/// An error with its causes, in one line.
fn describe(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> crate::Catalog {
        crate::Catalog::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../catalog"))).unwrap()
    }

    fn request<'a>(catalog: &'a crate::Catalog, location: &'a str) -> Request<'a> {
        Request {
            location,
            place_phrase: None,
            work_type: "학생",
            work_phrase: None,
            category: &catalog.categories()[0],
            documents: &[],
        }
    }

    #[test]
    fn prompts_of_different_people_begin_the_same() {
        let catalog = catalog();
        let model = ModelInfo::default();
        let text = |location| {
            let prompt = catalog.prompts().base_info(&request(&catalog, location), false, &model).unwrap();
            let [Piece::Text(text)] = &prompt.pieces[..] else { panic!("one piece of text: {prompt:?}") };
            text.clone()
        };
        let (a, b) = (text("제주도"), text("독도"));
        let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
        assert!(same * 10 > a.chars().count() * 8, "{same} of {} characters", a.chars().count());
        assert!(a.contains("제주도") && a.ends_with(' '));
    }

    #[test]
    fn a_chat_template_goes_around_the_content_and_special_tokens_stay_outside_it() {
        let catalog = catalog();
        let template = "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m.content.strip() }}<|end|>{% endfor %}\
                        {% if add_generation_prompt %}<|assistant|>{% endif %}";
        let model =
            ModelInfo { chat_template: Some(template.into()), bos: "<s>".into(), ..ModelInfo::default() };
        let prompt = catalog.prompts().base_info(&request(&catalog, "<|end|>"), true, &model).unwrap();
        let [Piece::Template(before), Piece::Text(content), Piece::Template(after)] = &prompt.pieces[..]
        else {
            panic!("{prompt:?}")
        };
        assert_eq!((&**before, &**after), ("<s><|user|>", "<|end|><|assistant|>"));
        assert!(content.contains("<|end|>"), "what a person typed is text");
    }

    #[test]
    fn a_model_without_a_usable_chat_template_is_told_apart() {
        let catalog = catalog();
        for (template, expected) in
            [(None, "no chat template"), (Some("{{ nonsense( }}"), "fails"), (Some("hello"), "drops")]
        {
            let model = ModelInfo { chat_template: template.map(String::from), ..ModelInfo::default() };
            let error =
                catalog.prompts().base_info(&request(&catalog, "섬"), true, &model).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("chat.chat_template"), "{error}");
        }
    }
}
