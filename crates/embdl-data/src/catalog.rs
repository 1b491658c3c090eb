//! The data sets that are known by name: what they are, what their files must hash to, where they may lie.
//!
//! ```no_run
//! use embdl_data::catalog::{self, LoadOptions};
//!
//! let split = catalog::load("fashion-mnist", &LoadOptions::default())?;
//! println!("{} to train on", split.train.len());
//! # Ok::<(), catalog::CatalogError>(())
//! ```

mod load;
mod search;

pub use load::{LoadOptions, load, load_from};
pub use search::{DATA_VARIABLE, SearchPath, locate};

use std::path::PathBuf;

use crate::cifar::{self, LabelBytes};
use crate::idx::ReadError;
use crate::{DatasetError, SplitError};

/// One data set of the catalog: its files and how to read them.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Name on the command line, and of its folder.
    pub name: &'static str,
    /// What it is and who made it.
    pub source: &'static str,
    /// What it is stored in.
    pub files: Files,
    /// Names of the classes, in the order of the labels.
    pub classes: &'static [&'static str],
    /// Mean of the training pixels, in units of 1/255, rounded.
    pub zero_point: u8,
    /// Standard deviation of the training pixels, in units of the full range.
    pub std: f32,
    /// Folders on the web that hold the gzipped files, best first; without a slash at the end.
    pub mirrors: &'static [&'static str],
    /// Where a distribution's package puts the files.
    pub system_dir: Option<&'static str>,
    /// That package.
    pub package: Option<&'static str>,
}

/// The files of a data set.
#[derive(Clone, Debug)]
pub enum Files {
    /// Four idx files, gzipped or not.
    Idx(IdxFiles),
    /// Binary files as CIFAR's authors pack them.
    Cifar(CifarFiles),
}

impl Files {
    /// Names, without `.gz`.
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Idx(files) => files.all().map(|file| file.name).to_vec(),
            Self::Cifar(files) => {
                files.train.iter().chain([&files.test]).map(|file| file.name).collect()
            }
        }
    }
}

/// Four idx files.
#[derive(Clone, Debug)]
pub struct IdxFiles {
    /// Training images, N·H·W.
    pub train_images: IdxFile,
    /// Training labels, N.
    pub train_labels: IdxFile,
    /// Test images, N·H·W.
    pub test_images: IdxFile,
    /// Test labels, N.
    pub test_labels: IdxFile,
}

impl IdxFiles {
    /// The four files.
    pub fn all(&self) -> [&IdxFile; 4] {
        [&self.train_images, &self.train_labels, &self.test_images, &self.test_labels]
    }
}

/// Binary files of CIFAR. Their authors publish a checksum of the archive, not of the files in it, so what is checked is
/// the number of images and every label.
#[derive(Clone, Debug)]
pub struct CifarFiles {
    /// The folder that the archive unpacks to.
    pub folder: &'static str,
    /// The archive, where it comes from, and its checksum: what to tell a person.
    pub archive: &'static str,
    /// How records begin.
    pub labels: LabelBytes,
    /// Training images, in this order.
    pub train: &'static [CifarFile],
    /// Test images.
    pub test: CifarFile,
}

/// One binary file of CIFAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CifarFile {
    /// Name.
    pub name: &'static str,
    /// Images in it.
    pub images: usize,
}

/// One idx file. Packagers gzip differently, so the pinned identity is that of the unpacked content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdxFile {
    /// Name without `.gz`.
    pub name: &'static str,
    /// Unpacked size, header included. Unit: bytes.
    pub len_bytes: u64,
    /// SHA-256 of the unpacked content, in hexadecimal.
    pub sha256: &'static str,
}

/// Why a data set cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The name is not in the catalog.
    #[error("no data set is called {name:?}; there are: {}", known.join(", "))]
    UnknownDataset {
        /// The name.
        name: String,
        /// All names.
        known: Vec<&'static str>,
    },
    /// The files are nowhere.
    #[error(transparent)]
    NotFound(#[from] Box<NotFound>),
    /// A file is not a good idx file.
    #[error(transparent)]
    Idx(#[from] ReadError),
    /// A file is not a good CIFAR file.
    #[error(transparent)]
    Cifar(#[from] cifar::ReadError),
    /// A CIFAR file has another number of images than the data set has.
    #[error("{path} holds {found} images, expected {expected}", path = .path.display())]
    Images {
        /// The file.
        path: PathBuf,
        /// Images that the data set has there.
        expected: usize,
        /// Images in the file.
        found: usize,
    },
    /// A folder of pictures is not a data set.
    #[cfg(feature = "pictures")]
    #[error(transparent)]
    Folder(#[from] crate::folder::FolderError),
    /// A folder of pictures was asked for and none named.
    #[error(
        "a folder of pictures is named with --data or {DATA_VARIABLE}; it has the folders train and test"
    )]
    NoFolder,
    /// The classes of the test pictures are not those of the training pictures.
    #[error("train has the classes {train:?}, test has {test:?}")]
    Classes {
        /// Of the training pictures.
        train: Vec<String>,
        /// Of the test pictures.
        test: Vec<String>,
    },
    /// A file is good, but another one.
    #[error(
        "{path} is not the {name} file: unpacked SHA-256 is {found}, expected {expected}; \
         it is of another data set or was changed: move it away and fetch again",
        path = .path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The data set.
        name: &'static str,
        /// Pinned checksum.
        expected: &'static str,
        /// Checksum of what is there.
        found: String,
    },
    /// A file has the right content for its checksum and still not the rank of images or labels.
    #[error("{path} has shape {shape:?}, expected {rank} dimensions", path = .path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Its shape.
        shape: Vec<usize>,
        /// The rank that was expected.
        rank: usize,
    },
    /// Images and labels do not fit each other.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The validation part is too large.
    #[error(transparent)]
    Split(#[from] SplitError),
}

/// The files of a data set are not on this machine; says where they were looked for and how to get them.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub struct NotFound {
    /// The data set.
    pub name: &'static str,
    /// Folders that do not hold all files.
    pub searched: Vec<PathBuf>,
    /// The package that would bring them.
    pub package: Option<&'static str>,
    /// The folder to put them into.
    pub cache: Option<PathBuf>,
    /// The files it takes.
    pub files: Vec<&'static str>,
    /// What to fetch and unpack by hand, where `embdl` does not fetch it.
    pub archive: Option<&'static str>,
}

impl NotFound {
    fn message(&self) -> String {
        let mut message = format!("data set {} is not on this machine; looked in:", self.name);
        for dir in &self.searched {
            message += &format!("\n  {}", dir.display());
        }
        if let Some(archive) = self.archive {
            message += &format!("\nTo get it, fetch and unpack {archive}");
            let files = self.files.join(", ");
            message += &format!("; name the folder that then holds {files}");
            return message + " with --data or " + DATA_VARIABLE;
        }
        message += &format!("\nTo get it, either run `embdl data fetch {}`", self.name);
        if let Some(package) = self.package {
            message += &format!(", or install the package {package} (Debian, Ubuntu)");
        }
        if let Some(cache) = &self.cache {
            let files = self.files.join(", ");
            message +=
                &format!(", or put its files ({files}; .gz or unpacked) into {}", cache.display());
        }
        message + ", or name their folder with --data or " + DATA_VARIABLE
    }
}

/// All data sets that are made of files.
pub fn entries() -> &'static [Entry] {
    &ENTRIES
}

/// The data set of this name.
///
/// # Errors
/// [`CatalogError::UnknownDataset`], which lists the names there are.
pub fn find(name: &str) -> Result<&'static Entry, CatalogError> {
    ENTRIES.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let known = ENTRIES.iter().map(|entry| entry.name).chain(crate::synthetic::NAMES);
        #[cfg(feature = "pictures")]
        let known = known.chain([crate::folder::NAME]);
        CatalogError::UnknownDataset { name: name.to_owned(), known: known.collect() }
    })
}

static ENTRIES: [Entry; 4] = [
    Entry {
        name: "fashion-mnist",
        source: "Fashion-MNIST, Xiao, Rasul and Vollgraf 2017 (arXiv:1708.07747), Zalando SE, MIT licence",
        files: Files::Idx(IdxFiles {
            train_images: IdxFile {
                name: "train-images-idx3-ubyte",
                len_bytes: 47_040_016,
                sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            },
            train_labels: IdxFile {
                name: "train-labels-idx1-ubyte",
                len_bytes: 60_008,
                sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            },
            test_images: IdxFile {
                name: "t10k-images-idx3-ubyte",
                len_bytes: 7_840_016,
                sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            },
            test_labels: IdxFile {
                name: "t10k-labels-idx1-ubyte",
                len_bytes: 10_008,
                sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            },
        }),
        classes: &[
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ],
        zero_point: 73,
        std: 0.3530,
        mirrors: &[
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        ],
        system_dir: Some("/usr/share/datasets/fashion-mnist"),
        package: Some("dataset-fashion-mnist"),
    },
    Entry {
        name: "mnist",
        source: "MNIST, LeCun, Cortes and Burges 1998, from NIST Special Databases 1 and 3",
        files: Files::Idx(IdxFiles {
            train_images: IdxFile {
                name: "train-images-idx3-ubyte",
                len_bytes: 47_040_016,
                sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            },
            train_labels: IdxFile {
                name: "train-labels-idx1-ubyte",
                len_bytes: 60_008,
                sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            },
            test_images: IdxFile {
                name: "t10k-images-idx3-ubyte",
                len_bytes: 7_840_016,
                sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            },
            test_labels: IdxFile {
                name: "t10k-labels-idx1-ubyte",
                len_bytes: 10_008,
                sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            },
        }),
        classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        zero_point: 33,
        std: 0.3081,
        mirrors: &[
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            "https://ossci-datasets.s3.amazonaws.com/mnist",
        ],
        system_dir: None,
        package: None,
    },
    Entry {
        name: "cifar-10",
        source: "CIFAR-10, Krizhevsky 2009, \"Learning Multiple Layers of Features from Tiny Images\"",
        files: Files::Cifar(CifarFiles {
            folder: "cifar-10-batches-bin",
            archive: "cifar-10-binary.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html, MD5 \
                      c32a1d4ab5d03f1284b67883e8d87530)",
            labels: LabelBytes::One,
            train: &[
                CifarFile { name: "data_batch_1.bin", images: 10_000 },
                CifarFile { name: "data_batch_2.bin", images: 10_000 },
                CifarFile { name: "data_batch_3.bin", images: 10_000 },
                CifarFile { name: "data_batch_4.bin", images: 10_000 },
                CifarFile { name: "data_batch_5.bin", images: 10_000 },
            ],
            test: CifarFile { name: "test_batch.bin", images: 10_000 },
        }),
        classes: &[
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ],
        zero_point: 121,
        std: 0.2516,
        mirrors: &[],
        system_dir: None,
        package: None,
    },
    Entry {
        name: "cifar-100",
        source: "CIFAR-100, Krizhevsky 2009, \"Learning Multiple Layers of Features from Tiny Images\"",
        files: Files::Cifar(CifarFiles {
            folder: "cifar-100-binary",
            archive: "cifar-100-binary.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html, MD5 \
                      03b5dce01913d631647c71ecec9e9cb8)",
            labels: LabelBytes::CoarseAndFine,
            train: &[CifarFile { name: "train.bin", images: 50_000 }],
            test: CifarFile { name: "test.bin", images: 10_000 },
        }),
        classes: &CIFAR_100_CLASSES,
        zero_point: 122,
        std: 0.2682,
        mirrors: &[],
        system_dir: None,
        package: None,
    },
];

/// As `fine_label_names.txt` of the archive has them.
const CIFAR_100_CLASSES: [&str; 100] = [
    "apple",
    "aquarium_fish",
    "baby",
    "bear",
    "beaver",
    "bed",
    "bee",
    "beetle",
    "bicycle",
    "bottle",
    "bowl",
    "boy",
    "bridge",
    "bus",
    "butterfly",
    "camel",
    "can",
    "castle",
    "caterpillar",
    "cattle",
    "chair",
    "chimpanzee",
    "clock",
    "cloud",
    "cockroach",
    "couch",
    "crab",
    "crocodile",
    "cup",
    "dinosaur",
    "dolphin",
    "elephant",
    "flatfish",
    "forest",
    "fox",
    "girl",
    "hamster",
    "house",
    "kangaroo",
    "keyboard",
    "lamp",
    "lawn_mower",
    "leopard",
    "lion",
    "lizard",
    "lobster",
    "man",
    "maple_tree",
    "motorcycle",
    "mountain",
    "mouse",
    "mushroom",
    "oak_tree",
    "orange",
    "orchid",
    "otter",
    "palm_tree",
    "pear",
    "pickup_truck",
    "pine_tree",
    "plain",
    "plate",
    "poppy",
    "porcupine",
    "possum",
    "rabbit",
    "raccoon",
    "ray",
    "road",
    "rocket",
    "rose",
    "sea",
    "seal",
    "shark",
    "shrew",
    "skunk",
    "skyscraper",
    "snail",
    "snake",
    "spider",
    "squirrel",
    "streetcar",
    "sunflower",
    "sweet_pepper",
    "table",
    "tank",
    "telephone",
    "television",
    "tiger",
    "tractor",
    "train",
    "trout",
    "tulip",
    "turtle",
    "wardrobe",
    "whale",
    "willow_tree",
    "wolf",
    "woman",
    "worm",
];
