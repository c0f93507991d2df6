//! Prompts from the catalogue's templates, with the model's own chat template around them where it has one.

use leafresh_engine::{ModelInfo, Piece, Prompt};
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::{Category, Document, Files, source};
use crate::Error;
use crate::chat_template::{self, describe};
use crate::history::Exchange;

const BASE_INFO: &str = "prompts/base-info.j2";
const BASE_INFO_CHAT: &str = "prompts/base-info.chat.j2";
const FREE_TEXT: &str = "prompts/free-text.j2";
const FREE_TEXT_CHAT: &str = "prompts/free-text.chat.j2";
const ALL: [&str; 4] = [BASE_INFO, BASE_INFO_CHAT, FREE_TEXT, FREE_TEXT_CHAT];

/// The catalogue's prompt templates.
#[derive(Debug, Clone)]
pub(crate) struct Prompts {
    templates: Environment<'static>,
    files: Files,
}

/// What a prompt is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// None: three choices, and no message.
    pub(crate) message: Option<&'a str>,
    pub(crate) location: &'a str,
    /// How a place that the catalogue knows reads in a sentence.
    pub(crate) place_phrase: Option<&'a str>,
    pub(crate) work_type: &'a str,
    pub(crate) work_phrase: Option<&'a str>,
    pub(crate) category: &'a Category,
    /// Documents for the model to read, best first; empty when it reads none.
    pub(crate) documents: &'a [&'a Document],
    /// What was said before, oldest first.
    pub(crate) history: &'a [Exchange],
}

/// How a prompt is laid out, and how long it may be.
pub(crate) struct Layout<'a> {
    /// As a turn of the model's chat template.
    pub(crate) chat: bool,
    pub(crate) model: &'a ModelInfo,
    /// Tokens of the prompt, at most.
    pub(crate) tokens: usize,
    pub(crate) count: &'a dyn Fn(&str) -> usize,
}

impl Prompts {
    pub(crate) fn load(files: &Files) -> Result<Self, Error> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        for name in ALL {
            let (text, path) = source::read(files, name)?;
            templates
                .add_template_owned(name, text)
                .map_err(|error| source::error_on_line(&path, error.line().unwrap_or(1), describe(&error)))?;
        }
        let prompts = Self { templates, files: files.clone() };
        prompts.check()?;
        Ok(prompts)
    }

    /// Renders every template once, so that a misspelt name is found at the start.
    fn check(&self) -> Result<(), Error> {
        let text = || String::from("x");
        let category =
            Category { code: text(), label: text(), aliases: Vec::new(), description: text(), adapter: None };
        let document = Document {
            id: text(),
            category: text(),
            title: text(),
            text: text(),
            short: text(),
            source: text(),
            ..Document::default()
        };
        let documents = [&document];
        let history = [Exchange { question: text(), answer: text() }];
        let request = Request {
            message: Some("x"),
            location: "x",
            place_phrase: None,
            work_type: "x",
            work_phrase: None,
            category: &category,
            documents: &documents,
            history: &history,
        };
        for name in ALL {
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
        let history: Vec<Value> = request
            .history
            .iter()
            .map(|exchange| context! { question => exchange.question, answer => exchange.answer })
            .collect();
        let values = context! {
            message => request.message.unwrap_or_default(),
            history,
            location => request.location,
            place_phrase => request.place_phrase,
            work_type => request.work_type,
            work_phrase => request.work_phrase,
            category => request.category.label,
            description => request.category.description,
            documents,
        };
        self.templates.get_template(name).and_then(|template| template.render(values)).map_err(|error| {
            source::error_on_line(&self.files.path(name), error.line().unwrap_or(1), describe(&error))
        })
    }

    /// The prompt for a request: in the layout of examples, or as a turn of the model's chat template.
    ///
    /// What is too long loses whole documents first, the least fitting ones, then its oldest turns, and in the end the
    /// message's last characters.
    ///
    /// # Errors
    /// [`Error::Settings`] when the model's chat template can't be used, [`Error::Catalog`] when a template fails.
    pub(crate) fn prompt(&self, request: &Request, layout: &Layout) -> Result<Prompt, Error> {
        let name = match (request.message, layout.chat) {
            (None, false) => BASE_INFO,
            (None, true) => BASE_INFO_CHAT,
            (Some(_), false) => FREE_TEXT,
            (Some(_), true) => FREE_TEXT_CHAT,
        };
        let frame = layout.chat.then(|| chat_frame(layout.model)).transpose()?;
        let around =
            frame.as_ref().map_or(0, |(before, after)| (layout.count)(before) + (layout.count)(after));
        let text = self.fitting(name, *request, layout.tokens.saturating_sub(around), layout.count)?;
        Ok(match frame {
            None => Prompt { pieces: vec![Piece::Text(text)] },
            Some((before, after)) => {
                Prompt { pieces: vec![Piece::Template(before), Piece::Text(text), Piece::Template(after)] }
            }
        })
    }

    /// The rendered template, cut to so many tokens.
    fn fitting(
        &self,
        name: &str,
        mut request: Request,
        tokens: usize,
        count: &dyn Fn(&str) -> usize,
    ) -> Result<String, Error> {
        loop {
            let text = self.render(name, &request)?;
            let over = count(&text).saturating_sub(tokens);
            if over == 0 {
                return Ok(text);
            }
            match (request.documents, request.history, request.message) {
                ([fitting @ .., _], _, _) => request.documents = fitting,
                ([], [_, newer @ ..], _) => request.history = newer,
                ([], [], Some(message)) if message.chars().nth(1).is_some() => {
                    // A token is a character or more; the first cut is rarely too much and never takes all.
                    let characters = message.chars().count();
                    let kept = characters.saturating_sub(over.div_ceil(4)).clamp(1, characters - 1);
                    let end = message.char_indices().nth(kept).map_or(message.len(), |(at, _)| at);
                    request.message = Some(&message[..end]);
                }
                // What is the same for everybody: the engine says whether it fits.
                _ => return Ok(text),
            }
        }
    }
}

/// What the model's chat template puts before and after a user's turn.
fn chat_frame(model: &ModelInfo) -> Result<(String, String), Error> {
    chat_template::frame(model).map_err(|reason| {
        Error::Settings(format!("chat.chat_template = true, but the model {reason}; set it to false"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> crate::Catalog {
        crate::Catalog::of(&Files::built_in()).unwrap()
    }

    fn request<'a>(catalog: &'a crate::Catalog, location: &'a str) -> Request<'a> {
        Request {
            location,
            place_phrase: None,
            work_type: "학생",
            work_phrase: None,
            category: &catalog.categories()[0],
            documents: &[],
            message: None,
            history: &[],
        }
    }

    /// One token for each character.
    fn layout(chat: bool, tokens: usize, model: &ModelInfo) -> Layout<'_> {
        Layout { chat, model, tokens, count: &|text| text.chars().count() }
    }

    fn whole_text(prompt: &Prompt) -> String {
        let [Piece::Text(text)] = &prompt.pieces[..] else { panic!("one piece of text: {prompt:?}") };
        text.clone()
    }

    #[test]
    fn prompts_of_different_people_begin_the_same() {
        let catalog = catalog();
        let model = ModelInfo::default();
        let text = |location| {
            let request = request(&catalog, location);
            whole_text(&catalog.prompts().prompt(&request, &layout(false, 10_000, &model)).unwrap())
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
        let prompt =
            catalog.prompts().prompt(&request(&catalog, "<|end|>"), &layout(true, 10_000, &model)).unwrap();
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
            let prompt = catalog.prompts().prompt(&request(&catalog, "섬"), &layout(true, 10_000, &model));
            let error = prompt.unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("chat.chat_template"), "{error}");
        }
    }

    #[test]
    fn case_17_documents_go_first_then_the_oldest_turns_and_no_character_is_cut() {
        let catalog = catalog();
        let model = ModelInfo::default();
        let documents: Vec<&Document> = catalog.documents().iter().take(5).collect();
        let exchange =
            |n: usize| Exchange { question: format!("지난 질문 {n}"), answer: format!("지난 답 {n}") };
        let history: Vec<Exchange> = (0..6).map(exchange).collect();
        let message = "메시지가 아주 길어요. ".repeat(40);
        let message = message.trim();
        let whole = Request {
            message: Some(message),
            documents: &documents,
            history: &history,
            ..request(&catalog, "제주도")
        };
        let render = |request: &Request, tokens: usize| {
            whole_text(&catalog.prompts().prompt(request, &layout(false, tokens, &model)).unwrap())
        };
        let longest = render(&whole, 100_000);
        let bare = render(&Request { message: Some("메"), documents: &[], history: &[], ..whole }, 100_000);
        let mut before = (usize::MAX, usize::MAX, usize::MAX);
        for tokens in (bare.chars().count()..=longest.chars().count()).rev().step_by(7) {
            let text = render(&whole, tokens);
            assert!(text.chars().count() <= tokens);
            let shown = documents.iter().take_while(|document| text.contains(&document.text)).count();
            let titles = documents.iter().filter(|document| text.contains(&document.title)).count();
            let turns = history.iter().filter(|exchange| text.contains(&exchange.question)).count();
            let written = message.char_indices().map(|(at, _)| &message[..at]).chain([message]);
            let written = written.filter(|part| text.contains(&format!("\n메시지: {part}\n"))).count();
            assert_eq!(titles, shown, "whole documents, the best ones");
            assert!(turns == 0 || text.contains(&history[5].question), "the newest turns stay");
            assert_eq!(written, 1, "the message or its beginning");
            assert!(turns == 6 || shown == 0, "{shown} documents stay, but only {turns} turns");
            let length = text.chars().count();
            assert!((shown, turns) <= (before.0, before.1) && length <= before.2);
            before = (shown, turns, length);
        }
        assert_eq!((before.0, before.1), (0, 0));
    }
}
