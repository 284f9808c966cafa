#include "eval/openings.h"

namespace kvpareto {
namespace {

// So ordered that any few of them in a row are of several kinds.
constexpr const char* kOpenings[] = {
    "Hartwell is a village and civil parish in the county of Wiltshire, England. It lies on the north bank of a "
    "small river, about nine miles west of the cathedral city, and at the census of 2001 had 412 inhabitants. "
    "The parish church, dedicated to Saint Michael, was built in the 13th century and",
    "import argparse\nimport json\nfrom pathlib import Path\n\n\nclass Inventory:\n    \"\"\"Items of a "
    "warehouse, by name.\"\"\"\n\n    def __init__(self, path: Path):\n        self.path = path\n        "
    "self.items = json.loads(path.read_text()) if path.exists() else {}\n\n    def add(self, name: str, count: "
    "int) -> None:\n",
    "Sir William Anderson Hale (12 March 1841 – 3 November 1918) was a British engineer and politician. Born in "
    "Leeds as the third son of a wool merchant, he was educated at the grammar school there and at Trinity "
    "College, Cambridge. In 1869 he was appointed chief engineer of",
    "WASHINGTON — The Senate voted on Tuesday to approve a bill that would spend $1.2 billion on the repair of "
    "bridges and rural roads, sending it to the House, where its fate is less certain. \"This has been three "
    "years in the making,\" said the chairman of the committee, a Republican from",
    "Abstract. We study the problem of estimating the parameters of a mixture model when some of the "
    "observations are missing. We propose an estimator based on pairwise moments, show that it is consistent "
    "under mild conditions, and give a bound on its variance. In experiments on three data sets, our method",
    "Die Stadt liegt am linken Ufer des Flusses, etwa zwanzig Kilometer südlich der Landeshauptstadt. Sie wurde "
    "im Jahr 1187 erstmals urkundlich erwähnt und gehörte bis 1803 zum Bistum. Im Dreißigjährigen Krieg wurde sie",
    "The battle was fought on 14 May 1643 between the Royalist army under the Earl of Newcastle and a smaller "
    "Parliamentarian force. After two days of skirmishes the cavalry crossed the river at dawn, and the "
    "infantry, who had been short of powder since the siege, were forced to",
    "Question: A bakery sells muffins for $3 each and loaves of bread for $5 each. On Monday it sold 24 muffins "
    "and half as many loaves. How much money did it make on Monday?\nAnswer: The bakery sold 24 / 2 = 12 loaves. "
    "The muffins brought in",
    "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\n#define MAX_LINE 1024\n\nstruct node {\n    "
    "char *key;\n    int value;\n    struct node *next;\n};\n\nstatic struct node *table[256];\n\nstatic "
    "unsigned hash(const char *s)\n{\n    unsigned h = 5381;\n",
    "The 1997 season was the club's 84th in existence and its fifth in a row in the top division. Under a new "
    "manager, the team won eleven of its first fourteen matches, but injuries to both strikers in December meant "
    "that",
    "\"Northern Lights\" is the third single from the band's second studio album. Written by the singer and "
    "produced by Steve Hall, it was recorded in London between January and April and released on 6 June 1994. "
    "The song is in the key of D minor, with a tempo of 96 beats per minute. Critics praised",
    "LONDON (Reuters) - Shares in the bank fell more than 6 percent on Thursday after it warned that profit in "
    "the second quarter would be hit by higher provisions for bad loans. Analysts had expected",
    "2 Related Work. Early approaches to named entity recognition relied on hand-written rules and gazetteers. "
    "Conditional random fields with features of the neighbouring words were later replaced by recurrent "
    "networks, which learn such features from data. More recently, pre-trained language models have",
    "#pragma once\n\n#include <cstdint>\n#include <memory>\n#include <string>\n#include <vector>\n\nnamespace "
    "net {\n\n// A connection to one peer. Not thread-safe.\nclass Connection {\n public:\n  explicit "
    "Connection(std::string host, uint16_t port);\n  ~Connection();\n\n  // Throws std::system_error if the peer "
    "cannot be reached.\n",
    "The black-throated thrush is a medium-sized songbird of the family Turdidae. Adults are 23 to 25 cm long; "
    "the male has a grey back and a dark breast, while the female is paler and streaked. It breeds in open "
    "coniferous forest from the Urals to Mongolia and, in winter,",
    "La révolution a commencé en février, lorsque les ouvriers de la capitale, privés de pain depuis plusieurs "
    "semaines, sont descendus dans la rue. Le gouvernement, qui croyait pouvoir compter sur l'armée, a",
    "\"The Visitor\" is the eighth episode of the fourth season of the American science fiction television "
    "series. It was written by the executive producer and directed by David Carson, and it first aired on "
    "October 9, 1995. In the episode, the crew discovers",
    "const express = require('express');\nconst router = express.Router();\n\n// GET /users/:id\n"
    "router.get('/users/:id', async (req, res) => {\n  try {\n    const user = await "
    "User.findById(req.params.id);\n    if (!user) {\n      return res.status(404).json({ error: 'User not "
    "found' });\n    }\n",
    "Tropical Storm Helene was the eighth named storm of the 1988 Atlantic hurricane season. It formed on August "
    "17 from a tropical wave about 300 miles east of Barbados, moved toward the northwest and strengthened "
    "until, on August 20, it reached winds of 70 mph. The storm caused",
    "Theorem 2. Let f be a continuous function on the closed interval [a, b] and suppose that f(a) < 0 < f(b). "
    "Then there is a point c in (a, b) with f(c) = 0.\n\nProof. Let S be the set of all x in [a, b] for which "
    "f(x) < 0. Since a is in S,",
    "Chapter One\n\nIt was late in the evening when Martha finally saw the lights of the house between the "
    "trees. The driver had not spoken since they left the station, and the rain, which had begun at Oxford, ran "
    "down the windows so that",
    "The patient, a 54-year-old woman with a history of hypertension, presented with chest pain of three hours' "
    "duration. Her blood pressure was 162/94 mmHg and her pulse 88 per minute. An electrocardiogram showed",
    "How do I remove duplicate rows from a table but keep the newest one? I have a table with about two million "
    "rows, and the obvious query takes several minutes. I have tried adding an index on the date column, but",
    "CREATE TABLE customers (\n  id INTEGER PRIMARY KEY,\n  name TEXT NOT NULL,\n  city TEXT,\n  created_at "
    "TIMESTAMP DEFAULT CURRENT_TIMESTAMP\n);\n\nSELECT c.name, COUNT(o.id) AS orders, SUM(o.total) AS spent\n"
    "FROM customers c\nLEFT JOIN orders o ON o.customer_id = c.id\n",
    "The ship was laid down at the yard in Kiel in October 1906 as the second of a class of four armoured "
    "cruisers, and commissioned in 1909. She carried twelve 21 cm guns in six twin turrets, and her engines gave "
    "her a top speed of 24 knots. In August 1914, when war broke out, she",
    "El presidente anunció ayer que el gobierno destinará 300 millones de euros a la construcción de nuevas "
    "escuelas en las zonas rurales. Según el ministro de Educación, las obras comenzarán en",
    "State Route 38 is a highway of 47 miles in the eastern part of the state. It begins at an interchange with "
    "Interstate 80 south of Millbrook, passes through farmland and two small towns, and ends at the county line. "
    "The road was first paved in 1927, and in",
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n  <meta charset=\"utf-8\">\n  <title>Garden Tools</title>\n  "
    "<link rel=\"stylesheet\" href=\"style.css\">\n</head>\n<body>\n  <nav>\n    <a "
    "href=\"index.html\">Home</a>\n    <a href=\"about.html\">About</a>\n  </nav>\n  <main>\n    <h1>",
    "The temple stands on the eastern slope of the hill above the old town. It was begun under King Harihara in "
    "the 10th century and finished by his grandson, whose inscriptions cover the outer walls. Scholars disagree "
    "about whether the inner shrine, which is of sandstone,",
    "\"I don't believe you,\" she said, closing the door behind her. \"You told me he had gone to sea.\"\n\n\"He "
    "had,\" said the old man, without looking up from his work. \"But the sea, you know, does not keep everyone "
    "who",
    "Section 2. Definitions. In this Act, unless the context otherwise requires, \"authority\" means the water "
    "authority established under section 4; \"owner\", in relation to any land, means the person who is entitled "
    "to receive the rent of that land; and",
    "The film stars Robert Ellis as a retired detective who returns to his home town after the death of his "
    "brother. Principal photography began in Vancouver in March 2004 on a budget of $22 million. On its release "
    "it received mixed reviews; one critic wrote that",
    "# fastlog\n\nA small logging library without dependencies.\n\n## Installation\n\nTo install the package, "
    "run\n\n```bash\npip install fastlog\n```\n\n## Usage\n\n```python\nfrom fastlog import Logger\n\nlog = "
    "Logger(\"app\", level=\"info\")\n",
    "In chemistry, an ether is a compound in which an oxygen atom is bound to two carbon atoms of organic "
    "groups. Simple ethers are colourless liquids with low boiling points, for their molecules, unlike those of "
    "alcohols, cannot form hydrogen bonds with each other. They are made by",
    "Which of the following best explains why the price of a good rises when a frost destroys part of the "
    "harvest?\nA. Demand for the good increases\nB. Supply of the good decreases\nC. Consumers' incomes fall\nD. "
    "The price of substitutes falls\nAnswer: B.",
    "黄河是中国第二长河，发源于青海省，流经九个省区，最后注入渤海。由于流经黄土高原，河水含有大量泥沙，因此",
    "The kingdom reached its greatest extent under Stephen II, who reigned from 1322 to 1353. By treaties and by "
    "three short wars he gained the coast as far as the mouth of the river, and merchants of Ragusa were granted "
    "the right to trade in",
    "Dear Mr. Thompson,\n\nThank you for your letter of the 4th of June and for the photographs that came with "
    "it. I was glad to hear that the journey went well and that your sister has recovered. As to the house, I am "
    "afraid that",
    "Lentil soup\n\nServes four. Ingredients:\n\n- 250 g red lentils\n- 1 large onion, chopped\n- 2 carrots, "
    "sliced\n- 1 teaspoon ground cumin\n- 1 litre vegetable stock\n\nMethod\n\n1. Heat the oil in a large pan and",
    "use std::collections::HashMap;\nuse std::fs::File;\nuse std::io::{self, BufRead, BufReader};\n\n/// Counts "
    "how often each word occurs in a file.\npub fn count_words(path: &str) -> io::Result<HashMap<String, usize>> "
    "{\n    let reader = BufReader::new(File::open(path)?);\n    let mut counts = HashMap::new();\n",
    "The game is a role-playing video game developed for handheld consoles. Players take command of a squad of "
    "soldiers, each belonging to one of five classes, and move them in turns over a map of the battlefield. "
    "Every mission is opened by",
};

}  // namespace

std::span<const char* const> openings() { return kOpenings; }

}  // namespace kvpareto
