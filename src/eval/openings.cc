#include "eval/openings.h"

namespace kvpareto {
namespace {

constexpr const char* kOpenings[] = {
    "The village of Hartwell is a civil parish and small settlement in the county of",
    "Sir William Anderson (12 March 1841 – 3 November 1918) was a British engineer and politician who",
    "The Battle of the River Plate was fought on",
    "The 1997 season was the club's 84th season in existence. The team",
    "The album was recorded in London between January and April of that year. Critics",
    "The species is found in the tropical forests of South America. Adults are",
    "The episode was written by the series' executive producer and directed by",
    "A tropical storm formed over the western Atlantic on August 17. The system",
    "WASHINGTON — The Senate voted on Tuesday to approve",
    "LONDON (Reuters) - Shares in the bank fell sharply on Thursday after",
    "Chapter One\n\nIt was late in the evening when Martha finally",
    "\"I don't believe you,\" she said, closing the door behind her.",
    "Dear Mr. Thompson,\n\nThank you for your letter of",
    "Question: A train leaves the station at 9:00 and travels at 60 miles per hour. A second train leaves",
    "Abstract. We study the problem of estimating",
    "In quantum mechanics, the wave function of a particle",
    "The patient, a 54-year-old woman, presented with",
    "Section 2. Definitions. In this Act, unless the context otherwise requires,",
    "Ingredients:\n\n2 cups flour\n1 teaspoon salt\n",
    "I have been using this laptop for about six months now and",
    "How do I remove duplicate rows from a table? I have tried",
    "import numpy as np\n\ndef ",
    "#include <stdio.h>\n#include <stdlib.h>\n\n",
    "function loadUsers(callback) {\n",
    "SELECT customers.name, COUNT(orders.id)",
    "<!DOCTYPE html>\n<html>\n<head>\n<title>",
    "{\n  \"name\": \"",
    "# Installation\n\nTo install the package, run",
    "Die Stadt liegt am Ufer des Flusses und",
    "La révolution française a commencé en",
    "El presidente anunció ayer que",
    "中国是世界上历史最悠久的国家之一。",
};

}  // namespace

std::span<const char* const> openings() { return kOpenings; }

}  // namespace kvpareto
