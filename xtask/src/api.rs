//! The verifier's public interface as a text file that a diff shows: what whoever embeds it can name, without bodies
//! and words.
//!
//! The source is walked as it is written, so no compiler's internal format is needed. What only a compiler knows is
//! left out: types stand as the source spells them, and items of other crates or of macros are not listed. An item of
//! a private module stands where it is re-exported, an impl with its type. Private fields are one `_`, and so are the
//! values of constants.

use crate::root;
use anyhow::{Context, bail, ensure};
use std::{collections::BTreeMap, fs, path::Path};
use syn::{
    Attribute, Block, Expr, Field, Fields, FnArg, GenericArgument, Ident, ImplItem, Item, ItemImpl, ItemMod, Meta, Pat,
    PathArguments, Signature, TraitItem, Type, UseTree, Visibility, parse::Parser, parse_quote, token::Brace,
};

#[cfg(test)]
mod tests;

/// The crate whose interface is written down, and where, below the root.
const SOURCE: &str = "verifier/src/lib.rs";
const WRITTEN: &str = "verifier/api.txt";

const HEAD: &str = "\
// The public interface of taproof-verifier. `cargo xtask api` writes this file, `cargo xtask test` compares it with the
// source.

";

/// Attributes that are part of an interface.
const KEPT_ATTRIBUTES: [&str; 8] =
    ["cfg", "cfg_attr", "default", "derive", "from", "must_use", "non_exhaustive", "repr"];

/// Writes the interface down.
pub(crate) fn write() -> anyhow::Result<()> {
    fs::write(root().join(WRITTEN), interface(&root().join(SOURCE))?)
        .with_context(|| format!("{WRITTEN} cannot be written"))
}

/// Compares the interface with what is written down.
pub(crate) fn compare() -> anyhow::Result<()> {
    let (found, path) = (interface(&root().join(SOURCE))?, root().join(WRITTEN));
    let written = fs::read_to_string(path).with_context(|| format!("{WRITTEN} cannot be read"))?;
    if found == written {
        return Ok(());
    }
    let differs = |(now, then): (&str, &str)| now != then;
    let line = found
        .lines()
        .zip(written.lines())
        .position(differs)
        .unwrap_or(found.lines().count().min(written.lines().count()));
    let of = |text: &str| text.lines().nth(line).unwrap_or("nothing").trim().to_owned();
    let (now, then) = (of(&found), of(&written));
    bail!("line {} of {WRITTEN} is `{then}`, the source has `{now}`: `cargo xtask api` writes it anew", line + 1)
}

/// The interface of the crate with this root file.
fn interface(source: &Path) -> anyhow::Result<String> {
    let mut krate = Crate::default();
    krate.read(Vec::new(), source, true, &[])?;
    krate.check_impls()?;
    let file = syn::File { shebang: None, frontmatter: None, attrs: Vec::new(), items: krate.public_items(&[]) };
    Ok(format!("{HEAD}{}", prettyplease::unparse(&file)))
}

/// Names of modules from the crate's root on.
type ModulePath = Vec<String>;

/// A definition's module and name.
type Place = (ModulePath, String);

#[derive(Default)]
struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

struct Module {
    /// Whether the module and all that it lies in are public.
    is_public: bool,
    /// The conditions under which it is compiled.
    conditions: Vec<Attribute>,
    items: Vec<Item>,
}

impl Crate {
    /// Reads a module's file and, below it, those of its modules.
    fn read(&mut self, path: ModulePath, file: &Path, is_public: bool, conditions: &[Attribute]) -> anyhow::Result<()> {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("{} is not Rust", file.display()))?;
        let folder = if path.is_empty() { file.with_file_name("") } else { file.with_extension("") };
        let conditions = conditions.to_vec();
        self.insert(path, Module { is_public, conditions, items: parsed.items }, &folder)
    }

    /// Takes a module in, and those that stand in it or in files of its folder. Tests are left out.
    fn insert(&mut self, path: ModulePath, mut module: Module, folder: &Path) -> anyhow::Result<()> {
        module.items.retain(|item| !is_test(attributes(item)));
        for item in &module.items {
            let Item::Mod(ItemMod { ident, content, vis, attrs, .. }) = item else { continue };
            let below = [&path[..], &[ident.to_string()]].concat();
            let own = attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).cloned();
            let conditions: Vec<_> = module.conditions.iter().cloned().chain(own).collect();
            let is_public = module.is_public && is_pub(vis);
            match content {
                Some((_, items)) => {
                    let inner = Module { is_public, conditions, items: items.clone() };
                    self.insert(below, inner, &folder.join(ident.to_string()))?;
                }
                None => self.read(below, &folder.join(format!("{ident}.rs")), is_public, &conditions)?,
            }
        }
        self.modules.insert(path, module);
        Ok(())
    }

    /// Checks that each impl's type is found, so that none is left out unseen.
    fn check_impls(&self) -> anyhow::Result<()> {
        for (path, module) in &self.modules {
            for item in &module.items {
                let Item::Impl(block) = item else { continue };
                let found = type_segments(&block.self_ty).and_then(|named| self.resolve(path, &named));
                ensure!(found.is_some(), "in module `{}` stands an impl of a type that is not found", path.join("::"));
            }
        }
        Ok(())
    }

    /// What a public module shows.
    fn public_items(&self, path: &[String]) -> Vec<Item> {
        let mut shown = Vec::new();
        for item in &self.modules[path].items {
            match item {
                Item::Mod(module) if is_pub(&module.vis) => {
                    let below = [path, &[module.ident.to_string()]].concat();
                    let mut module = module.clone();
                    module.attrs = kept(&module.attrs);
                    module.content = Some((Brace::default(), self.public_items(&below)));
                    module.semi = None;
                    shown.push(Item::Mod(module));
                }
                Item::Use(item) if is_pub(&item.vis) => {
                    let mut leaves = Vec::new();
                    flatten(&item.tree, &mut Vec::new(), &mut leaves);
                    for (name, target) in leaves {
                        self.show_reexport(path, &name, &target, &mut shown);
                    }
                }
                item if name(item).is_some_and(|(_, vis)| is_pub(vis)) => self.show(path, item, &mut shown),
                _ => (),
            }
        }
        shown
    }

    /// Shows the item that a re-export names, if it is one of a private module, and the re-export otherwise or if it
    /// renames the item.
    fn show_reexport(&self, path: &[String], as_name: &str, target: &[String], shown: &mut Vec<Item>) {
        if let Some((module, ident)) = self.resolve(path, target).filter(|(module, _)| !self.modules[module].is_public)
        {
            let is_named = |item: &&Item| name(item).is_some_and(|(name, _)| *name == ident.as_str());
            let items = self.modules[&module].items.iter().filter(is_named);
            items.for_each(|item| self.show(&module, item, shown));
            if ident == as_name {
                return;
            }
        }
        let is_renamed = target.last().is_some_and(|last| last != as_name);
        let renamed = if is_renamed { format!(" as {as_name}") } else { String::new() };
        let text = format!("pub use {}{renamed};", target.join("::"));
        shown.push(syn::parse_str(&text).expect("the source has it, too"));
    }

    /// Shows an item and the impls of what it defines.
    fn show(&self, path: &[String], item: &Item, shown: &mut Vec<Item>) {
        shown.push(without_insides(item.clone()));
        let Some((ident, _)) = name(item).filter(|_| is_type(item)) else { return };
        let place = (path.to_vec(), ident.to_string());
        for (module_path, module) in &self.modules {
            for item in &module.items {
                let Item::Impl(block) = item else { continue };
                if type_segments(&block.self_ty).and_then(|path| self.resolve(module_path, &path)).as_ref()
                    == Some(&place)
                {
                    shown.extend(self.public_impl(module_path, module, block));
                }
            }
        }
    }

    /// What others see of an impl; `None` if that is nothing.
    fn public_impl(&self, path: &[String], module: &Module, block: &ItemImpl) -> Option<Item> {
        let mut block = block.clone();
        block.attrs = module.conditions.iter().cloned().chain(kept(&block.attrs)).collect();
        match &block.trait_ {
            Some((of, _)) => {
                let last = of.segments.last()?;
                let mut arguments = Vec::new();
                if let PathArguments::AngleBracketed(generics) = &last.arguments {
                    let types = generics.args.iter().filter_map(|argument| match argument {
                        GenericArgument::Type(argument) => type_segments(argument),
                        _ => None,
                    });
                    arguments.extend(types);
                }
                arguments.push(of.segments.iter().map(|segment| segment.ident.to_string()).collect());
                if arguments.iter().any(|named| self.is_private(path, named)) {
                    return None;
                }
                block.items.retain(|item| matches!(item, ImplItem::Type(_)));
            }
            None => {
                block.items.retain_mut(|item| match item {
                    ImplItem::Fn(function) if is_pub(&function.vis) => {
                        function.attrs = kept(&function.attrs);
                        function.block = empty_block();
                        hide_mut(&mut function.sig);
                        true
                    }
                    ImplItem::Const(constant) if is_pub(&constant.vis) => {
                        constant.attrs = kept(&constant.attrs);
                        constant.expr = unsaid();
                        true
                    }
                    _ => false,
                });
                if block.items.is_empty() {
                    return None;
                }
            }
        }
        Some(Item::Impl(block))
    }

    /// Whether a path names an item of this crate that is not public.
    fn is_private(&self, path: &[String], named: &[String]) -> bool {
        self.resolve(path, named).is_some_and(|(module, ident)| {
            let is_hidden = |item: &Item| name(item).is_some_and(|(name, vis)| *name == ident.as_str() && !is_pub(vis));
            self.modules[&module].items.iter().any(is_hidden)
        })
    }

    /// Where the item is defined that a path names in a module; `None` if it is another crate's.
    fn resolve(&self, module: &[String], named: &[String]) -> Option<Place> {
        let (last, above) = named.split_last()?;
        if above.is_empty() {
            return self.resolve_name(module, last);
        }
        let mut target = module.to_vec();
        for segment in above {
            match segment.as_str() {
                "crate" => target.clear(),
                "self" => (),
                "super" => drop(target.pop()),
                child => target.push(child.to_owned()),
            }
        }
        self.modules.contains_key(&target).then(|| self.resolve_name(&target, last)).flatten()
    }

    fn resolve_name(&self, module: &[String], ident: &str) -> Option<Place> {
        let items = &self.modules.get(module)?.items;
        if items.iter().filter_map(name).any(|(name, _)| name == ident) {
            return Some((module.to_vec(), ident.to_owned()));
        }
        let mut leaves = Vec::new();
        for item in items {
            if let Item::Use(item) = item {
                flatten(&item.tree, &mut Vec::new(), &mut leaves);
            }
        }
        let target = leaves.into_iter().find(|(name, target)| name == ident && target.len() > 1)?.1;
        self.resolve(module, &target)
    }
}

/// The names that a `use` brings in, each with its path. What a glob brings in is not known; [`Crate::check_impls`]
/// tells if that hides an impl.
fn flatten(tree: &UseTree, above: &mut Vec<String>, leaves: &mut Vec<(String, Vec<String>)>) {
    let mut leaf = |ident: &Ident, name: &Ident, above: &[String]| {
        let is_self = ident == "self";
        let target = if is_self { above.to_vec() } else { [above, &[ident.to_string()]].concat() };
        let own_name = if is_self && ident == name { target.last().cloned() } else { Some(name.to_string()) };
        leaves.extend(own_name.map(|name| (name, target)));
    };
    match tree {
        UseTree::Path(path) => {
            above.push(path.ident.to_string());
            flatten(&path.tree, above, leaves);
            above.pop();
        }
        UseTree::Name(name) => leaf(&name.ident, &name.ident, above),
        UseTree::Rename(rename) => leaf(&rename.ident, &rename.rename, above),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, above, leaves)),
        UseTree::Glob(_) => (),
    }
}

/// An item's name and visibility, if it has both.
fn name(item: &Item) -> Option<(&Ident, &Visibility)> {
    Some(match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        _ => return None,
    })
}

fn is_type(item: &Item) -> bool {
    matches!(item, Item::Enum(_) | Item::Struct(_))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_pub(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// The attributes that are part of an interface. How serde writes a type is said in its documentation.
fn kept(attributes: &[Attribute]) -> Vec<Attribute> {
    let is_kept = |attribute: &&Attribute| {
        let is_form = || match &attribute.meta {
            Meta::List(list) => list.tokens.to_string().replace(' ', "").contains("serde("),
            _ => false,
        };
        KEPT_ATTRIBUTES.iter().any(|kept| attribute.path().is_ident(kept)) && !is_form()
    };
    attributes.iter().filter(is_kept).cloned().collect()
}

fn type_segments(named: &Type) -> Option<Vec<String>> {
    let Type::Path(named) = named else { return None };
    Some(named.path.segments.iter().map(|segment| segment.ident.to_string()).collect())
}

fn unsaid() -> Expr {
    parse_quote!(_)
}

fn empty_block() -> Block {
    parse_quote!({})
}

/// Whether a function alters its own copy of an argument is not seen from outside.
fn hide_mut(signature: &mut Signature) {
    for input in &mut signature.inputs {
        if let FnArg::Typed(argument) = input
            && let Pat::Ident(name) = &mut *argument.pat
        {
            name.mutability = None;
        }
    }
}

/// The item without its documentation, bodies, values and private fields.
fn without_insides(mut item: Item) -> Item {
    match &mut item {
        Item::Const(item) => (item.attrs, *item.expr) = (kept(&item.attrs), unsaid()),
        Item::Static(item) => (item.attrs, *item.expr) = (kept(&item.attrs), unsaid()),
        Item::Fn(item) => {
            (item.attrs, *item.block) = (kept(&item.attrs), empty_block());
            hide_mut(&mut item.sig);
        }
        Item::Type(item) => item.attrs = kept(&item.attrs),
        Item::Struct(item) => {
            item.attrs = kept(&item.attrs);
            hide_private(&mut item.fields);
        }
        Item::Enum(item) => {
            item.attrs = kept(&item.attrs);
            for variant in &mut item.variants {
                variant.attrs = kept(&variant.attrs);
                variant.fields.iter_mut().for_each(|field| field.attrs = kept(&field.attrs));
            }
        }
        Item::Trait(item) => {
            item.attrs = kept(&item.attrs);
            for item in &mut item.items {
                match item {
                    TraitItem::Fn(function) => {
                        function.attrs = kept(&function.attrs);
                        function.default = function.default.as_ref().map(|_| empty_block());
                    }
                    TraitItem::Const(constant) => constant.attrs = kept(&constant.attrs),
                    TraitItem::Type(associated) => associated.attrs = kept(&associated.attrs),
                    _ => (),
                }
            }
        }
        _ => (),
    }
    item
}

/// Private fields become one, which stands for however many there are; those of a tuple keep their number, which is
/// seen.
fn hide_private(fields: &mut Fields) {
    fields.iter_mut().for_each(|field| field.attrs = kept(&field.attrs));
    match fields {
        Fields::Named(fields) => {
            let shown: Vec<_> = fields.named.iter().filter(|field| is_pub(&field.vis)).cloned().collect();
            let is_whole = shown.len() == fields.named.len();
            fields.named = shown.into_iter().collect();
            if !is_whole {
                fields.named.push(Field::parse_named.parse_str("_: _").expect("a field without a name"));
            }
        }
        Fields::Unnamed(fields) => {
            let private = fields.unnamed.iter_mut().filter(|field| !is_pub(&field.vis));
            private.for_each(|field| field.ty = parse_quote!(_));
        }
        Fields::Unit => (),
    }
}
