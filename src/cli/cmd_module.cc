// kiln module list, show, check: what kiln can put on an image.
#include "base/strings.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "config/image_spec.h"

namespace kiln::cli {
namespace {

const RegisterCommand list_command{
    {.name = "module list",
     .group = "Modules",
     .summary = "list the modules that kiln finds",
     .examples = {{"kiln module list --modules ~/modules", "with a folder of your own"}},
     .define = [](CLI::App& app) {
       auto folders = std::make_shared<std::vector<std::string>>();
       app.add_option("--modules", *folders, "folder with modules of your own; may be given again")
           ->type_name("DIR")
           ->expected(1)
           ->take_all();
       return [folders] {
         Response response;
         response.json = Json::array();
         std::vector<std::vector<std::string>> rows;
         for (const auto& folder : config::list_modules(config::SearchPath::for_modules({folders->begin(), folders->end()}))) {
           const auto module = config::load_module(folder);
           response.json.push_back({{"name", module.name}, {"summary", module.summary}, {"folder", folder.native()}});
           rows.push_back({module.name, module.summary});
         }
         response.text = format_table({"module", ""}, rows);
         return response;
       };
     }}};

const RegisterCommand show_command{
    {.name = "module show",
     .group = "Modules",
     .summary = "show a module's parameters, services and commands",
     .examples = {{"kiln module show spark", ""}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       app.add_option("MODULE", *name, "the module")->required();
       return [name] {
         const auto module = config::load_module(config::find_module(config::SearchPath::for_modules(), *name));
         Response response;
         response.json = config::module_to_json(module);
         response.text = fmt::format("{}: {}\nfolder {}\n", module.name, module.summary, module.folder.native());
         if (!module.requires_modules.empty()) response.text += fmt::format("requires {}\n", join(module.requires_modules, ", "));
         std::vector<std::vector<std::string>> params, services, node_commands;
         for (const auto& [key, parameter] : module.params) params.push_back({key, parameter.default_value, parameter.doc});
         for (const auto& service : module.services) {
           std::vector<std::string> ports;
           for (const auto& [key, port] : service.ports) ports.push_back(key + " " + port);
           services.push_back({module.name + "." + service.name, service.on, service.user, join(ports, ", ")});
         }
         for (const auto& [key, command] : module.commands) node_commands.push_back({key, command.user, command.doc});
         if (!params.empty()) response.text += "\n" + format_table({"parameter", "default", ""}, params);
         if (!services.empty()) response.text += "\n" + format_table({"service", "on", "user", "ports"}, services);
         if (!node_commands.empty()) response.text += "\n" + format_table({"command", "user", ""}, node_commands);
         return response;
       };
     }}};

const RegisterCommand check_command{{.name = "module check",
                                     .group = "Modules",
                                     .summary = "say what is wrong with a module, and where",
                                     .description = "The manifest, the scripts' syntax, placeholders, ports, and services that wait for "
                                                    "each other. Exit code 2 when something is wrong.",
                                     .examples = {{"kiln module check my-module/", ""}},
                                     .define = [](CLI::App& app) {
                                       auto folder = std::make_shared<std::string>();
                                       app.add_option("DIR", *folder, "the module's folder")->required();
                                       return [folder] {
                                         const auto problems = config::check_module(*folder);
                                         Response response;
                                         response.json = {{"folder", *folder}, {"problems", problems}};
                                         response.exit_code = problems.empty() ? 0 : static_cast<int>(ExitCode::kUsage);
                                         for (const auto& problem : problems) response.text += problem + "\n";
                                         if (problems.empty()) response.text = fmt::format("{}: nothing wrong\n", *folder);
                                         return response;
                                       };
                                     }}};

}  // namespace
}  // namespace kiln::cli
