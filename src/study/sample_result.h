#pragma once
// What a model made of one sample of a task at one point: kept in the study one by one, so that a run that was cut
// short goes on where it was and one with more samples pays for the new ones only.

#include <map>
#include <string>

namespace kvpareto {

struct SampleResult {
  std::string sample;                    // fingerprint of the tokens shown, the right answer and the limits
  std::map<std::string, double> scores;  // by figure name, as Measurement::texts has them
  std::string answer;                    // what was said or chosen
  double seconds = 0;
};

}  // namespace kvpareto
