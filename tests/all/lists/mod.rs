//! The recorded answers of the Python Cratos, asked of this program over a socket: lists, and everything around them that
//! needs a MISP behind it.
//!
//! Every row is one of: equal; under an id of the migration table, with an answer that follows from the request and from
//! what was there; pending, because the program has no such URL, data type or format yet (that list shrinks by itself);
//! failed, of which there are none.
//!
//! | file | content |
//! |---|---|
//! | `target.rs` | URLs of lists, taken apart |
//! | `member.rs` | which values are in a list |
//! | `bodies.rs` | bodies of lists |
//! | `ids.rs` | which decisions a list may differ under, and what it is then |
//! | `rows.rs` | all other answers: what is to come instead of the recorded one |
//! | `served.rs` | the program with the recorded sites and a scripted MISP |
//! | `tally.rs` | counts |
//! | `compared.rs` | `cratos compare` between the recorded bodies and this program |
//! | `output.rs`, `http.rs`, `public.rs` | the tests, one per recording |

mod bodies;
mod compared;
mod http;
mod ids;
mod member;
mod output;
mod public;
mod rows;
mod served;
mod tally;
mod target;
